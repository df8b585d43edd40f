//! What keeps the page from harm: headers, names, sign-in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use powerstream_gateway::config::Settings;
use reqwest::StatusCode;
use reqwest::header::HOST;
use sha2::{Digest, Sha256};

use super::{answer, gateway, open, request, secret, snapshot, text};
use crate::harness::TestEnv;
use crate::harness::probe::get;

/// Maximum bytes of the page without its table.
const PAGE_BYTES_MAX: usize = 60_000;

const PATHS: [&str; 3] = ["/", "/status.json", "/status/events"];

/// The only element of this name.
fn element<'p>(page: &'p str, begin: &str, end: &str) -> &'p str {
    assert_eq!(page.matches(begin).count(), 1, "{begin}");
    let (_, rest) = page.split_once(begin).expect("it is there");
    rest.split_once(end).expect("it ends").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_allows_embedded_parts() {
    let env = TestEnv::new().await;
    let page = answer(request(env.app().admin_address(), "/")).await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
    let page = page.text().await.expect("text");
    assert!(page.len() < PAGE_BYTES_MAX, "{} bytes", page.len());
    let digest = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let (script, style) =
        (element(&page, "<script type=\"module\">", "</script>"), element(&page, "<style>", "</style>"));
    assert!(script.len() > 1_000 && style.len() > 1_000);
    let expected = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'none'",
        digest(script),
        digest(style)
    );
    assert_eq!(policy, expected);
    // Nothing is loaded from elsewhere, and nothing needs what the policy forbids.
    let markup = page.replace(script, "").replace(style, "");
    for forbidden in [" src=", " style=", " onclick", "<form", "<iframe", "<link rel=\"stylesheet"] {
        assert!(!markup.contains(forbidden), "{forbidden}");
    }
    for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"] {
        assert!(!script.contains(forbidden), "{forbidden}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_security_headers() {
    let env = gateway(|_| ()).await;
    let address = env.app().admin_address();
    for path in PATHS {
        for principal in [None, Some("reader"), Some("viewer")] {
            let mut asked = request(address, path);
            if let Some(principal) = principal {
                asked = asked.bearer_auth(secret(principal).token.token);
            }
            let answer = answer(asked).await;
            let expected = match principal {
                None => StatusCode::UNAUTHORIZED,
                Some("reader") => StatusCode::FORBIDDEN,
                Some(_) => StatusCode::OK,
            };
            assert_eq!(answer.status(), expected, "{path} {principal:?}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-store"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(answer.headers()[name], value, "{path} {principal:?}");
            }
            assert!(answer.headers().contains_key("content-security-policy"), "{path} {principal:?}");
            assert!(!answer.headers().contains_key("access-control-allow-origin"), "{path} {principal:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_host_gets_nothing() {
    let tune = |settings: &mut Settings| {
        settings.admin.hosts = vec!["gateway.example.com".into()];
    };
    let env = TestEnv::tuned(|_| (), tune).await;
    let address = env.app().admin_address();
    for path in PATHS {
        for (host, expected) in [
            ("evil.example.com", StatusCode::MISDIRECTED_REQUEST),
            ("127.0.0.1.evil.example.com:9600", StatusCode::MISDIRECTED_REQUEST),
            ("gateway.example.com", StatusCode::OK),
            ("localhost:9600", StatusCode::OK),
            ("[::1]:9600", StatusCode::OK),
        ] {
            let answer = answer(request(address, path).header(HOST, host)).await;
            assert_eq!(answer.status(), expected, "{path} {host}");
        }
    }
    // Probes and scrapes use whatever name they like.
    assert_eq!(get(address, "/livez").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browser_signs_in_with_token_as_password() {
    let env = gateway(|_| ()).await;
    let address = env.app().admin_address();
    let refused = answer(request(address, "/")).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()["www-authenticate"], "Basic realm=\"powerstream-gateway\", charset=\"UTF-8\"");
    let token = secret("viewer").token.token;
    for path in PATHS {
        let answer = answer(request(address, path).basic_auth("viewer", Some(&token))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let (_, page) = text(request(address, "/").basic_auth("", Some(&token))).await;
    assert!(page.contains("Account main") && !page.contains("Account other"), "rights decide about the table too");
    for wrong in ["", "x", &token[1..], &format!("{token}x")] {
        let answer = answer(request(address, "/status.json").basic_auth("viewer", Some(wrong))).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
}

/// On loopback, without any setting in `auth`, viewers need no credential; if the admin port is reachable from elsewhere,
/// they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_is_open_on_loopback_only() {
    let env = TestEnv::new().await;
    let shown = snapshot(env.app().admin_address(), None).await;
    assert_eq!(open(&shown, "main")["unaccounted"], 0);
    drop(env);
    let everywhere = |settings: &mut Settings| {
        settings.admin.address = "0.0.0.0:0".parse().expect("an address");
    };
    let env = TestEnv::tuned(|_| (), everywhere).await;
    let address = ([127, 0, 0, 1], env.app().admin_address().port()).into();
    for path in PATHS {
        let answer = answer(request(address, path)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(get(address, "/livez").await.0, 200);
}
