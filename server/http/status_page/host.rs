//! The names under which the page may be requested. A page of another site whose name was made to point here (DNS rebinding)
//! requests it under that site's name, and gets nothing.

use std::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

/// True if every host that a request names is an IP address, `localhost`, or one of these.
pub(super) fn is_allowed(request: &Parts, hosts: &[String]) -> bool {
    let target = request.uri.authority().map(|authority| Some(authority.clone()));
    let named = request.headers.get_all(HOST).iter();
    let named = named.map(|value| value.to_str().ok().and_then(|text| text.parse::<Authority>().ok()));
    let all: Vec<Option<Authority>> = target.into_iter().chain(named).collect();
    let is_own = |authority: &Option<Authority>| authority.as_ref().is_some_and(|own| is_own_name(own.host(), hosts));
    !all.is_empty() && all.iter().all(is_own)
}

fn is_own_name(host: &str, hosts: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_listed = hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
    is_listed || host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn foreign_names_are_refused() {
        let hosts = ["gateway.example.com".to_owned()];
        let check = |uri: &str, named: &[&str], expected: bool| {
            let mut request = Request::builder().uri(uri);
            for host in named {
                request = request.header(HOST, *host);
            }
            let (request, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(is_allowed(&request, &hosts), expected, "{uri} {named:?}");
        };
        for own in ["127.0.0.1", "127.0.0.1:9600", "[::1]:9600", "10.1.2.3", "localhost", "LOCALHOST:80", "localhost."]
        {
            check("/", &[own], true);
        }
        check("/", &["Gateway.Example.com:9600"], true);
        check("https://gateway.example.com/", &[], true);
        for foreign in
            ["evil.example.com", "127.0.0.1.evil.com", "localhost.evil.com", "1.2.3.4.5", "", "user@evil.com", "a b"]
        {
            check("/", &[foreign], false);
        }
        check("/", &[], false);
        check("/", &["localhost", "evil.com"], false);
        check("http://evil.com/", &["localhost"], false);
    }
}
