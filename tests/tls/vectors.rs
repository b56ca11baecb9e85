//! RFC 8448 section 3: a connection of which every byte is printed. AES-128-GCM, TLS 1.3.

use fanfare::protocol::tls::{Alert, ContentType, Incoming, Suite, Traffic};

use crate::hearing::{Heard, hear};

const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";

/// Record 0 of the client: 50 bytes, counting up from 0.
const CLIENT_DATA: &str = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f\
    2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
/// Record 1 of the server, as record 0 was a ticket: the same 50 bytes.
const SERVER_DATA: &str = "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36\
    e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
/// What both send last: close_notify.
const CLIENT_CLOSE: &str = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
const SERVER_CLOSE: &str = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

#[test]
fn the_servers_records_are_those_of_rfc_8448() {
    let mut sending = Traffic::tls13(Suite::Aes128Gcm, &hex(SERVER_SECRET), 1).unwrap();
    let mut sealed = Vec::new();
    let content: Vec<u8> = (0..50).collect();
    sending.seal(ContentType::ApplicationData, &content, &mut sealed);
    assert_eq!(sealed, hex(SERVER_DATA));
    sealed.clear();
    sending.alert(Alert::CloseNotify, &mut sealed);
    assert_eq!(sealed, hex(SERVER_CLOSE));
    assert_eq!(sending.next(), 3);
}

#[test]
fn the_clients_records_of_rfc_8448_are_read() {
    let receiving = Traffic::tls13(Suite::Aes128Gcm, &hex(CLIENT_SECRET), 0).unwrap();
    let mut incoming = Incoming::new(receiving);
    let bytes = [hex(CLIENT_DATA), hex(CLIENT_CLOSE)].concat();
    let content: Vec<u8> = (0..50).collect();
    let wanted = [Heard::Data(content), Heard::CloseNotify];
    assert_eq!(hear(&mut incoming, &bytes), wanted);
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}
