#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_sim::targets::tls_open(data));
