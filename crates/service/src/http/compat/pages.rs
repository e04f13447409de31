//! The pages of a login: without scripts, without cookies, and without a word of what their address says.

use super::super::error::ApiError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// As all pages here, but its form's answer may lead to a program on the reader's own machine, and its own posts say where
/// they come from, which they would not without a referrer.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    form-action 'self' http://localhost:* http://127.0.0.1:*; frame-ancestors 'none'; base-uri 'none'";

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Bursa: log a program in</title>
<style>body{font:1.1em/1.5 sans-serif;max-width:38em;margin:3em auto;padding:0 1em}code{font-size:1.1em}\
input{font:inherit;width:100%;box-sizing:border-box;margin:.3em 0 1em}button{font:inherit}</style>
<h1>Log a program in</h1>
";

/// It is posted to where it came from, with what the program asked for.
const FORM: &str = "<form method=\"post\">
<label>An API token of yours, as <code>bursa token show</code> prints it
<input type=\"password\" name=\"token\" required autofocus autocomplete=\"off\" maxlength=\"512\"></label>
<button>Log in</button>
</form>
";

/// Asks who is there.
pub(super) fn ask() -> Response {
    page(
        StatusCode::OK,
        &format!(
            "<p>A program that speaks Globus Compute's or funcX's protocol wants to work here in your name: register functions \
             and endpoints, submit tasks, read their results. If you have not just started one, close this page.\n{FORM}\
             <p>The program does not get this token but one of its own: <code>bursa token list</code> shows it, \
             <code>bursa token revoke</code> ends it.\n"
        ),
    )
}

/// Shows a code of this service.
pub(super) fn code(code: &str) -> Response {
    page(
        StatusCode::OK,
        &format!(
            "<p>Enter this code, within a minute, in the program that gave you the address of this page, and nowhere else: \
             who has it acts in your name.\n<p><code id=\"code\">{code}</code>\n"
        ),
    )
}

/// Says why not. Who has only mistyped may try again.
pub(super) fn refused(error: &ApiError) -> Response {
    let again = match error.status {
        StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => FORM,
        _ => "",
    };
    page(error.status, &format!("<p><b>{}.</b>\n{again}", plain(&error.message())))
}

fn page(status: StatusCode, body: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (status, headers, format!("{HEAD}{body}")).into_response()
}

/// As text in a page.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
