//! Trust.

use std::sync::Arc;

use drivetrain_fetch::{Problem, RedirectProblem, Source};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::server::{Reply, Server};
use crate::support::{Place, checksum};

/// A server's side, and its certificate as PEM.
fn identity(name: &str) -> (TlsAcceptor, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), cert.pem())
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}/a", server.address.port())
}

#[tokio::test]
async fn a_site_may_have_its_own_authority() {
    let (acceptor, pem) = identity("localhost");
    let server = Server::start_tls(acceptor, |seen| Reply::file(seen, b"hello", None)).await;
    let place = Place::new();
    let ca = place.root.join("ca.pem");
    fs_err::write(&ca, pem).unwrap();
    let source = Source::parse(&url(&server)).unwrap().with_ca(Some(ca));
    place.downloader.download(&source, &checksum(b"hello"), Some(5), &|_| {}).await.unwrap();
}

#[tokio::test]
async fn an_unknown_authority_is_refused_at_once() {
    let (acceptor, _) = identity("localhost");
    let server = Server::start_tls(acceptor, |seen| Reply::file(seen, b"hello", None)).await;
    let error = Place::new().get(&url(&server), b"hello").await.unwrap_err();
    assert_eq!(error.tries, 1);
    assert!(error.to_string().contains("name its PEM file as the source's ca"), "{error}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let (acceptor, pem) = identity("elsewhere.example");
    let server = Server::start_tls(acceptor, |seen| Reply::file(seen, b"hello", None)).await;
    let place = Place::new();
    let ca = place.root.join("ca.pem");
    fs_err::write(&ca, pem).unwrap();
    let source = Source::parse(&url(&server)).unwrap().with_ca(Some(ca));
    let error = place.downloader.download(&source, &checksum(b"x"), None, &|_| {}).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Tls { .. }), "{error}");
    assert!(error.to_string().contains("check the URL"), "{error}");
}

#[tokio::test]
async fn a_port_without_tls_is_named_as_such() {
    // What a web server says to a TLS greeting.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/a", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        stream // Open until the other side has read.
    });
    let error = Place::new().get(&url, b"hello").await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("check that the port speaks TLS"), "{error}");
    drop(server.await);
}

#[tokio::test]
async fn https_does_not_become_http() {
    let plain = Server::start(|seen| Reply::file(seen, b"hello", None)).await;
    let target = plain.url("x");
    let (acceptor, pem) = identity("localhost");
    let server = Server::start_tls(acceptor, move |_| {
        Reply::new("302 Found", &[("Location", &target), ("Content-Length", "0")], vec![])
    })
    .await;
    let place = Place::new();
    let ca = place.root.join("ca.pem");
    fs_err::write(&ca, pem).unwrap();
    let source = Source::parse(&url(&server)).unwrap().with_ca(Some(ca));
    let error = place.downloader.download(&source, &checksum(b"x"), None, &|_| {}).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Redirect(RedirectProblem::Insecure(_))), "{error}");
    assert_eq!(plain.seen().len(), 0);
}

#[tokio::test]
async fn a_bad_authority_file_is_named() {
    let place = Place::new();
    let ca = place.root.join("ca.pem");
    let source = Source::parse("https://localhost:1/a").unwrap().with_ca(Some(ca.clone()));
    for (content, text) in [(None, "No such file"), (Some("hello"), "no PEM certificate in it")] {
        if let Some(content) = content {
            fs_err::write(&ca, content).unwrap();
        }
        let error = place.downloader.download(&source, &checksum(b"x"), None, &|_| {}).await.unwrap_err();
        assert!(error.to_string().contains(ca.as_str()), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}
