//! Code and reason of the contract (section 8) for requests that tonic rejects before they reach a service.

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tonic::body::Body;
use tonic::{Code, Status};

use super::status;

/// Content type of gRPC over HTTP/2 with protobuf messages, with or without parameters.
const GRPC: [&str; 2] = ["application/grpc", "application/grpc+proto"];
/// Lists what the server can decompress, in the answer to an unknown compression of the request.
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Returns the response to a request that is not gRPC: 415 for another content type, as the protocol requires, and 405 for
/// another method than POST. `None` for a gRPC request.
pub fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    if request.method() != Method::POST {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if GRPC.contains(&essence.as_str()) {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some(response)
}

/// Adds the reason to a status of tonic. A status of a service already has one. The request may have this many bytes, and
/// is about rules or not.
pub fn explain(response: Response<Body>, (bytes_max, about_rules): (usize, bool)) -> Response<Body> {
    let headers = response.headers();
    if headers.contains_key(status::REASON_TRAILER) {
        return response;
    }
    let Some(ended) = Status::from_header_map(headers) else { return response };
    let explained = match ended.code() {
        // Too long as it is, or when it is decompressed.
        Code::OutOfRange | Code::ResourceExhausted => status::request_too_long(bytes_max, about_rules),
        // No message, a wrong prefix, damaged compression, or no message of this type.
        Code::Internal | Code::InvalidArgument | Code::Unknown => status::request_malformed(ended.message()),
        Code::Unimplemented => {
            let why = if ended.message().is_empty() { "there is no such method" } else { ended.message() };
            status::unimplemented(why)
        }
        _ => return response,
    };
    let accepted = headers.get(ACCEPTED).cloned();
    let mut explained: Response<Body> = explained.into_http();
    let headers: &mut HeaderMap = explained.headers_mut();
    if let Some(accepted) = accepted {
        headers.insert(ACCEPTED, accepted);
    }
    explained
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn request_of_other_content_type_is_refused() {
        for (content_type, good) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("Application/GRPC", true),
            ("application/grpc-web", false),
            ("application/grpc+json", false),
            ("application/json", false),
            ("", false),
        ] {
            let request = Request::post("/").header(CONTENT_TYPE, content_type).body(()).expect("a request");
            let refused = refuse(&request).map(|response| response.status().as_u16());
            assert_eq!(refused, (!good).then_some(415), "{content_type}");
        }
        assert!(refuse(&Request::post("/").body(()).expect("a request")).is_some());
    }

    #[test]
    fn request_of_other_method_is_refused() {
        for (method, status) in [("GET", Some(405)), ("PUT", Some(405)), ("CONNECT", Some(405)), ("POST", None)] {
            let request = Request::builder().method(method).uri("x:1").header(CONTENT_TYPE, "application/grpc");
            let refused = refuse(&request.body(()).expect("a request"));
            assert_eq!(refused.map(|response| response.status().as_u16()), status, "{method}");
        }
    }

    #[test]
    fn ends_of_tonic_get_their_reason() {
        for (code, text, expected, reason) in [
            (Code::OutOfRange, "too large", Code::InvalidArgument, "FILTER_INVALID"),
            (Code::ResourceExhausted, "too large", Code::InvalidArgument, "FILTER_INVALID"),
            (Code::Internal, "Error decompressing", Code::InvalidArgument, "REQUEST_MALFORMED"),
            (Code::Internal, "Missing request message.", Code::InvalidArgument, "REQUEST_MALFORMED"),
            (Code::Unimplemented, "", Code::Unimplemented, "UNIMPLEMENTED"),
        ] {
            let mut response = Response::new(Body::empty());
            Status::new(code, text).add_header(response.headers_mut()).expect("ASCII");
            let explained = explain(response, (5, false));
            let status = Status::from_header_map(explained.headers()).expect("a status");
            assert_eq!(status.code(), expected, "{text}");
            assert_eq!(status.get_details_error_info().expect("ErrorInfo").reason, reason);
        }
        let ours = explain(status::internal("x").into_http(), (5, false));
        assert_eq!(Status::from_header_map(ours.headers()).expect("a status").code(), Code::Internal);
    }
}
