//! The page, held in the program: a file each for text, style and code, so that the content
//! security policy can forbid everything that is inline or comes from elsewhere.
//!
//! [`Server`](crate::Server) serves it. A program with an HTTP server of its own may as well: the
//! page calls `/api/offer` of whoever it came from.

/// One file of the page.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Asset {
    /// Where it is served, with a slash at the beginning.
    pub path: &'static str,
    /// The value of the header `content-type`.
    pub content_type: &'static str,
    /// The file.
    pub body: &'static str,
}

/// What the page may do: run its own files, call its own server, play the call's media.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self' blob: mediastream:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page may ask the browser's user for.
pub(crate) const PERMISSIONS_POLICY: &str = "camera=(self), microphone=(self), geolocation=()";

const ASSETS: [Asset; 8] = [
    html("/", include_str!("../assets/index.html")),
    script("/app.js", include_str!("../assets/app.js")),
    script("/call.js", include_str!("../assets/call.js")),
    script("/meter.js", include_str!("../assets/meter.js")),
    script("/network.js", include_str!("../assets/network.js")),
    script("/plot.js", include_str!("../assets/plot.js")),
    Asset {
        path: "/style.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("../assets/style.css"),
    },
    Asset {
        path: "/icon.svg",
        content_type: "image/svg+xml",
        body: include_str!("../assets/icon.svg"),
    },
];

/// The file at a path, which has no query; `None` for all that the page is not.
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    ASSETS.iter().find(|asset| asset.path == path).copied()
}

const fn html(path: &'static str, body: &'static str) -> Asset {
    Asset { path, content_type: "text/html; charset=utf-8", body }
}

const fn script(path: &'static str, body: &'static str) -> Asset {
    Asset { path, content_type: "text/javascript; charset=utf-8", body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let mut names = 0;
        for asset in ASSETS {
            for opening in ["src=\"", "href=\"", "from \"./"] {
                for rest in asset.body.split(opening).skip(1) {
                    let name = rest.split('"').next().expect("split gives at least one part");
                    names += 1;
                    assert!(super::asset(&format!("/{name}")).is_some(), "{}: {name}", asset.path);
                }
            }
        }
        assert!(names >= 6, "only {names} names were found");
    }

    #[test]
    fn the_page_names_no_other_host_and_has_nothing_inline() {
        for asset in ASSETS {
            let text = asset.body.replace("http://www.w3.org/2000/svg", "");
            for forbidden in
                ["src=\"http", "href=\"http", "url(http", "style=\"", "<script>", "<style"]
            {
                assert!(!text.contains(forbidden), "{}: {forbidden}", asset.path);
            }
        }
    }
}
