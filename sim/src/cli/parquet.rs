//! Frames as Parquet files, a row group for each frame.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::ConvertedType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use seedbank_sim::frame::{Column, Frame};

/// A file that takes frames of the same columns.
pub(super) struct FrameWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
}

impl<W: Write + Send> FrameWriter<W> {
    /// A file with the columns of this frame.
    pub(super) fn new(to: W, like: &Frame) -> io::Result<Self> {
        let schema = parse_message_type(&schema_of(like)).map_err(failed)?;
        let properties = Arc::new(WriterProperties::builder().build());
        let file = SerializedFileWriter::new(to, Arc::new(schema), properties);
        Ok(Self {
            file: file.map_err(failed)?,
        })
    }

    /// Appends the rows of a frame.
    pub(super) fn append(&mut self, frame: &Frame) -> io::Result<()> {
        let mut group = self.file.next_row_group().map_err(failed)?;
        for (_, column) in frame.columns() {
            write(&mut group, column).map_err(failed)?;
        }
        group.close().map(drop).map_err(failed)
    }

    /// Writes what ends the file.
    pub(super) fn close(self) -> io::Result<()> {
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

/// Reads a file that [`FrameWriter`] wrote, a frame at a time as they were appended.
pub(super) fn read<R: ChunkReader + 'static>(
    from: R,
    mut take: impl FnMut(Frame) -> io::Result<()>,
) -> io::Result<()> {
    let file = SerializedFileReader::new(from).map_err(failed)?;
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).map_err(failed)?;
        let meta = group.metadata();
        let rows = usize::try_from(meta.num_rows()).map_err(io::Error::other)?;
        let mut frame = Frame::default();
        for place in 0..group.num_columns() {
            let about = meta.column(place).column_descr();
            let reader = group.get_column_reader(place).map_err(failed)?;
            let column = read_column(reader, rows, about.converted_type()).map_err(failed)?;
            frame = frame.with(about.name(), column);
        }
        take(frame)?;
    }
    Ok(())
}

fn read_column(
    reader: ColumnReader,
    rows: usize,
    kind: ConvertedType,
) -> Result<Column, ParquetError> {
    match reader {
        ColumnReader::ByteArrayColumnReader(reader) if kind == ConvertedType::UTF8 => {
            let (cells, _) = cells_of(reader, rows)?;
            let text = |cell: &ByteArray| Ok(cell.as_utf8()?.to_owned());
            let texts: Result<_, ParquetError> = cells.iter().map(text).collect();
            texts.map(Column::Text)
        }
        ColumnReader::Int64ColumnReader(reader) => {
            let (cells, _) = cells_of(reader, rows)?;
            let whole = cells.into_iter().map(i64::cast_unsigned);
            Ok(Column::Whole(whole.collect()))
        }
        ColumnReader::DoubleColumnReader(reader) => {
            let (cells, levels) = cells_of(reader, rows)?;
            let mut there = cells.into_iter();
            let cell = |level: i16| if level > 0 { there.next() } else { None };
            Ok(Column::Number(levels.into_iter().map(cell).collect()))
        }
        _ => Err(ParquetError::General("a column of another kind".to_owned())),
    }
}

/// The cells that are there, and which are.
fn cells_of<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
) -> Result<(Vec<T::T>, Vec<i16>), ParquetError> {
    let (mut cells, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (more, ..) = reader.read_records(rows - read, Some(&mut levels), None, &mut cells)?;
        if more == 0 {
            return Err(ParquetError::EOF(format!("{read} of {rows} rows")));
        }
        read += more;
    }
    Ok((cells, levels))
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
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

    /// A disk that is full after so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let len = bytes.len().min(self.0);
            self.0 -= len;
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_is_full_at_any_byte_is_an_error() {
        let frame = Frame::default().whole("count", &[1, 2, 3], |count| *count);
        let write = |to: &mut (dyn Write + Send)| {
            let mut writer = FrameWriter::new(to, &frame)?;
            writer.append(&frame)?;
            writer.close()
        };
        let mut whole = Vec::new();
        write(&mut whole).unwrap();
        for len in 0..whole.len() {
            let error = write(&mut Full(len)).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::StorageFull,
                "after {len} bytes"
            );
        }
        write(&mut Full(whole.len())).unwrap();
    }

    #[test]
    fn frames_are_read_as_they_were_appended() {
        let rows = [
            ("a", u64::MAX, Some(0.5)),
            ("b", 2, None),
            ("c", 3, Some(7.0)),
        ];
        let frame = |rows: &[(&str, u64, Option<f64>)]| {
            Frame::default()
                .text("name", rows, |row| row.0.to_owned())
                .whole("count", rows, |row| row.1)
                .number("time_s", rows, |row| row.2)
        };
        let file = tempfile::tempfile().unwrap();
        let mut writer = FrameWriter::new(&file, &frame(&rows)).unwrap();
        writer.append(&frame(&rows[..2])).unwrap();
        writer.append(&frame(&rows[2..])).unwrap();
        writer.close().unwrap();
        let mut found = Vec::new();
        read(file.try_clone().unwrap(), |frame| {
            found.push(frame);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [frame(&rows[..2]), frame(&rows[2..])]);
        // Half a file is none.
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        assert!(read(file, |_| Ok(())).is_err());
    }
}
