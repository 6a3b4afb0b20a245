//! A server that speaks TLS to one client, with a certificate from the folder `tls`.
//!
//! *What it promises.* One request, one answer, one ending.
//!
//! *What it refuses to know.* What a right answer is.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How the connection ends after the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// As TLS wants it.
    CloseNotify,
    /// As a broken wire does it.
    Cut,
}

/// The server; its thread ends with its one connection.
pub(crate) struct TlsBank {
    address: SocketAddr,
}

impl TlsBank {
    /// Serves with `tls/{certificate}.pem`.
    pub(crate) fn start(certificate: &str, answer: Vec<u8>, ending: Ending) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/tls");
        let chain = CertificateDer::from_pem_file(format!("{folder}/{certificate}.pem"));
        let key = PrivateKeyDer::from_pem_file(format!("{folder}/server.key"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain.expect("a certificate")], key.expect("its key"))
            .expect("they belong together");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let session = ServerConnection::new(Arc::new(config)).expect("a session");
            // A client that turns away in the handshake is what some tests want.
            let _gone = serve(StreamOwned::new(session, stream), &answer, ending);
        });
        Self { address }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("https://{}", self.address)
    }
}

fn serve(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    answer: &[u8],
    ending: Ending,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    // The one body that these tests send ends so.
    while !request.ends_with(b"\"topup\"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    stream.write_all(answer)?;
    if matches!(ending, Ending::CloseNotify) {
        stream.conn.send_close_notify();
    }
    stream.flush()
}
