//! Frames as Parquet files, a row group for each frame.

use std::io::Write;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use seedbank_sim::frame::{Column, Frame};

/// A file that takes frames of the same columns.
pub(super) struct FrameWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
}

impl<W: Write + Send> FrameWriter<W> {
    /// A file with the columns of this frame.
    pub(super) fn new(to: W, like: &Frame) -> std::io::Result<Self> {
        let schema = parse_message_type(&schema_of(like)).map_err(failed)?;
        let properties = Arc::new(WriterProperties::builder().build());
        let file = SerializedFileWriter::new(to, Arc::new(schema), properties);
        Ok(Self {
            file: file.map_err(failed)?,
        })
    }

    /// Appends the rows of a frame.
    pub(super) fn append(&mut self, frame: &Frame) -> std::io::Result<()> {
        let mut group = self.file.next_row_group().map_err(failed)?;
        for (_, column) in frame.columns() {
            write(&mut group, column).map_err(failed)?;
        }
        group.close().map(drop).map_err(failed)
    }

    /// Writes what ends the file.
    pub(super) fn close(self) -> std::io::Result<()> {
        self.file.close().map(drop).map_err(failed)
    }
}

fn schema_of(frame: &Frame) -> String {
    let field = |(name, column): &(String, Column)| match column {
        Column::Text(_) => format!("required binary {name} (STRING);"),
        Column::Whole(_) => format!("required int64 {name} (INTEGER(64,false));"),
        Column::Number(_) => format!("optional double {name};"),
    };
    let fields: Vec<String> = frame.columns().iter().map(field).collect();
    format!("message rows {{ {} }}", fields.join(" "))
}

fn write<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: &Column,
) -> Result<(), ParquetError> {
    let next = group.next_column()?;
    let mut next = next.expect("the file has the columns of the frame");
    match column {
        Column::Text(cells) => {
            let cells: Vec<ByteArray> = cells.iter().map(|cell| cell.as_str().into()).collect();
            next.typed::<ByteArrayType>()
                .write_batch(&cells, None, None)?;
        }
        Column::Whole(cells) => {
            // Parquet stores an unsigned number by its bits.
            let cells: Vec<i64> = cells.iter().map(|cell| cell.cast_signed()).collect();
            next.typed::<Int64Type>().write_batch(&cells, None, None)?;
        }
        Column::Number(cells) => {
            let there: Vec<f64> = cells.iter().copied().flatten().collect();
            let levels: Vec<i16> = cells.iter().map(|cell| cell.is_some().into()).collect();
            next.typed::<DoubleType>()
                .write_batch(&there, Some(&levels), None)?;
        }
    }
    next.close()
}

fn failed(error: ParquetError) -> std::io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => *error,
            Err(other) => std::io::Error::other(other),
        },
        other => std::io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;

    use super::*;

    #[test]
    fn frames_are_read_back() {
        let rows = [("a", u64::MAX, Some(0.5)), ("b", 2, None)];
        let frame = Frame::default()
            .text("name", &rows, |row| row.0.to_owned())
            .whole("count", &rows, |row| row.1)
            .number("time_s", &rows, |row| row.2);
        let file = tempfile::tempfile().unwrap();
        let mut writer = FrameWriter::new(&file, &frame).unwrap();
        writer.append(&frame).unwrap();
        writer.append(&frame).unwrap();
        writer.close().unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let read: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read.len(), 4);
        assert_eq!(read[2].get_string(0).unwrap(), "a");
        assert_eq!(read[2].get_ulong(1).unwrap(), u64::MAX);
        assert_eq!(read[2].get_double(2).ok(), Some(0.5));
        assert!(read[3].get_double(2).is_err(), "there is none");
    }
}
