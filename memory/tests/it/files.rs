//! Files that tests make: PDF, Parquet.

use std::fmt::Write;
use std::path::Path;

/// A PDF file with these pages, each of these lines, as ISO 32000 has it.
pub fn pdf(pages: &[&[&str]]) -> Vec<u8> {
    let mut objects =
        vec![String::new(), String::new(), "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned()];
    let mut kids = Vec::new();
    for lines in pages {
        let mut content = "BT /F1 12 Tf 72 720 Td 16 TL\n".to_owned();
        for line in *lines {
            let escaped = line.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
            writeln!(content, "({escaped}) Tj T*").unwrap();
        }
        content.push_str("ET");
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
        let stream = objects.len();
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {stream} 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
        ));
        kids.push(format!("{} 0 R", objects.len()));
    }
    objects[0] = "<< /Type /Catalog /Pages 2 0 R >>".to_owned();
    objects[1] = format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), kids.len());
    let mut file = "%PDF-1.4\n".to_owned();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        writeln!(file, "{} 0 obj\n{object}\nendobj", number + 1).unwrap();
    }
    let start = file.len();
    writeln!(file, "xref\n0 {}\n0000000000 65535 f ", objects.len() + 1).unwrap();
    for offset in offsets {
        writeln!(file, "{offset:010} 00000 n ").unwrap();
    }
    write!(file, "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1).unwrap();
    file.into_bytes()
}

/// A Parquet file of 1000 numbers and their squares.
pub fn parquet(path: &Path) {
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let sql = format!(
        "COPY (SELECT range AS number, range * range AS square FROM range(1000)) TO '{}' (FORMAT parquet)",
        path.display()
    );
    connection.execute_batch(&sql).unwrap();
}
