//! Frames as one table that whoever reads Arrow can read, without a copy.

use std::sync::Arc;

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{
    Array as _, ArrayRef, Float64Array, RecordBatch, RecordBatchIterator, StringArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList};
use seedbank_sim::frame::{Column, Frame};

/// Columns of equal length, read by anything that speaks Arrow's C streams:
/// `polars.DataFrame(table)`, `pyarrow.table(table)`, `pandas.DataFrame.from_arrow(table)`.
#[pyclass(frozen, name = "Table", module = "seedbank_sim")]
pub(crate) struct ArrowTable(RecordBatch);

impl ArrowTable {
    /// The rows of all of these, one after the other; they have the same columns.
    pub(crate) fn of(frames: &[Frame]) -> Self {
        let like = frames.first().map_or(&[][..], Frame::columns);
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = like
            .iter()
            .enumerate()
            .map(|(place, (name, column))| {
                let (data_type, array) = joined(column, place, frames);
                let is_nullable = matches!(column, Column::Number(_));
                (Field::new(name, data_type, is_nullable), array)
            })
            .unzip();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
        Self(batch.expect("columns of equal length, of the types that are told"))
    }
}

/// The cells of one column of all frames.
fn joined(like: &Column, place: usize, frames: &[Frame]) -> (DataType, ArrayRef) {
    let cells = frames.iter().map(|frame| &frame.columns()[place].1);
    const SAME: &str = "all frames have the same columns";
    match like {
        Column::Text(_) => {
            let cells = cells.flat_map(|column| match column {
                Column::Text(cells) => cells,
                Column::Whole(_) | Column::Number(_) => unreachable!("{SAME}"),
            });
            let array = StringArray::from_iter_values(cells);
            (DataType::Utf8, Arc::new(array))
        }
        Column::Whole(_) => {
            let cells = cells.flat_map(|column| match column {
                Column::Whole(cells) => cells,
                Column::Text(_) | Column::Number(_) => unreachable!("{SAME}"),
            });
            let array = UInt64Array::from_iter_values(cells.copied());
            (DataType::UInt64, Arc::new(array))
        }
        Column::Number(_) => {
            let cells = cells.flat_map(|column| match column {
                Column::Number(cells) => cells,
                Column::Text(_) | Column::Whole(_) => unreachable!("{SAME}"),
            });
            let array: Float64Array = cells.copied().collect();
            (DataType::Float64, Arc::new(array))
        }
    }
}

#[pymethods]
impl ArrowTable {
    /// The table as an Arrow C stream of one batch. A schema that is asked for is not heeded, as
    /// the interface allows.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let reader = RecordBatchIterator::new([Ok(self.0.clone())], self.0.schema());
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    fn __repr__(&self) -> String {
        format!(
            "<seedbank_sim.Table: {} rows of {}>",
            self.0.num_rows(),
            self.column_names().join(", ")
        )
    }

    /// The names of the columns, in order.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        let schema = self.0.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        names.collect()
    }

    /// The cells of one column as a list, for who has no reader of Arrow at hand.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let array = self.0.column_by_name(name);
        let array = array.ok_or_else(|| PyKeyError::new_err(name.to_owned()))?;
        let any = array.as_any();
        if let Some(cells) = any.downcast_ref::<StringArray>() {
            PyList::new(py, cells.iter().collect::<Vec<_>>())
        } else if let Some(cells) = any.downcast_ref::<UInt64Array>() {
            PyList::new(py, cells.values().to_vec())
        } else {
            let cells = any.downcast_ref::<Float64Array>();
            let cells = cells.expect("tables have these three types");
            PyList::new(py, cells.iter().collect::<Vec<_>>())
        }
    }
}
