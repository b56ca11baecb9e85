//! The table that ends a run: a row for each kind, a column for each size, a block
//! for each group. It shows only what this run has measured.
//!
//! The figures are read from the files that criterion leaves in `target/criterion`,
//! as it does not give them out otherwise.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

/// One subject, and what a call of it took.
struct Row {
    measured: SystemTime,
    group: String,
    kind: String,
    /// What the name says of this size alone, behind a comma.
    note: String,
    size: String,
    ns: f64,
}

/// Criterion's `benchmark.json`.
#[derive(Deserialize)]
struct Subject {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
}

/// Criterion's `estimates.json`: the slope, or the mean where all samples have one length.
#[derive(Deserialize)]
struct Estimates {
    mean: Estimate,
    slope: Option<Estimate>,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// Prints what has been measured since then; nothing if nothing was.
pub(crate) fn print(since: SystemTime) {
    let mut rows = Vec::new();
    collect(&folder(), since, &mut rows);
    // In the order of the run.
    rows.sort_by_key(|row| row.measured);
    let mut groups: Vec<&str> = Vec::new();
    for row in &rows {
        if !groups.contains(&row.group.as_str()) {
            groups.push(&row.group);
        }
    }
    for group in groups {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.group == group).collect();
        println!("\n{}", block(group, &rows));
    }
}

/// Where criterion puts its files: in the folder of this program's build.
fn folder() -> PathBuf {
    if let Some(home) = env::var_os("CRITERION_HOME") {
        return home.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| "target".into()).join("criterion")
}

/// Looks for `new/benchmark.json` and its neighbour, at any depth.
fn collect(folder: &Path, since: SystemTime, rows: &mut Vec<Row>) {
    let Ok(entries) = fs::read_dir(folder) else {
        // `cargo test --benches` leaves nothing behind.
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        if entry.file_name() != "new" {
            collect(&path, since, rows);
            continue;
        }
        match row(&path) {
            Ok(row) if row.measured >= since => rows.push(row),
            Ok(_) => {}
            Err(error) => eprintln!("cannot read {}: {error}", path.display()),
        }
    }
}

fn row(new: &Path) -> io::Result<Row> {
    let file = new.join("estimates.json");
    let measured = fs::metadata(&file)?.modified()?;
    let subject: Subject = json(&new.join("benchmark.json"))?;
    let estimates: Estimates = json(&file)?;
    let name = subject.function_id.unwrap_or_default();
    let (kind, note) = name.split_once(", ").unwrap_or((&name, ""));
    Ok(Row {
        measured,
        group: subject.group_id,
        kind: kind.to_owned(),
        note: note.to_owned(),
        size: subject.value_str.unwrap_or_default(),
        ns: estimates.slope.unwrap_or(estimates.mean).point_estimate,
    })
}

fn json<T: for<'a> Deserialize<'a>>(file: &Path) -> io::Result<T> {
    let mut bytes = fs::read(file)?;
    simd_json::from_slice(&mut bytes).map_err(io::Error::other)
}

/// A group's rows as text.
fn block(group: &str, rows: &[&Row]) -> String {
    let (mut kinds, mut sizes): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for row in rows {
        if !kinds.contains(&row.kind.as_str()) {
            kinds.push(&row.kind);
        }
        if !sizes.contains(&row.size.as_str()) {
            sizes.push(&row.size);
        }
    }
    let mut table: Vec<Vec<String>> = vec![vec![group.to_owned()]];
    table[0].extend(sizes.iter().map(|size| (*size).to_owned()));
    for kind in kinds {
        let cell = |size: &&str| {
            let found = rows
                .iter()
                .find(|row| row.kind == kind && row.size == **size);
            found.map_or(String::new(), |row| cell(row))
        };
        let cells = sizes.iter().map(cell);
        table.push([kind.to_owned()].into_iter().chain(cells).collect());
    }
    let width = |column: usize| {
        let lengths = table.iter().map(|line| line[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
    let lines = table.iter().map(|line| {
        let cells = line.iter().zip(&widths).enumerate();
        let padded = cells.map(|(column, (text, width))| match column {
            0 => format!("{text:width$}"),
            _ => format!("{text:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn cell(row: &Row) -> String {
    match row.note.as_str() {
        "" => time(row.ns),
        note => format!("{} ({note})", time(row.ns)),
    }
}

/// Three digits and a unit.
fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns => (ns / 1e6, "ms"),
    };
    let decimals = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}
