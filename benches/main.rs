//! `cargo bench` measures all of it in some minutes; `cargo bench -- mask`,
//! or any other part of a name, only that. Peers run beside us where they can. A
//! table of all of it ends the run; `--features plots` has criterion draw as well.

use std::time::{Duration, SystemTime};

use cpu_time::CpuTime;
use criterion::Criterion;

mod cpu_time;
mod deflate;
mod fanout;
mod frame;
mod handshake;
mod log;
mod many;
mod mask;
mod null_ring;
mod reader;
mod summary;
mod tape;
mod utf8;

fn main() {
    let began = SystemTime::now();
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(600))
        .sample_size(40)
        .nresamples(10_000)
        .configure_from_args();
    mask::bench(&mut criterion);
    frame::bench(&mut criterion);
    utf8::bench(&mut criterion);
    reader::bench(&mut criterion);
    handshake::bench(&mut criterion);
    log::bench(&mut criterion);
    fanout::bench(&mut criterion);
    many::bench(&mut criterion);
    deflate::bench(&mut criterion);
    criterion.final_summary();
    summary::print(began);
}
