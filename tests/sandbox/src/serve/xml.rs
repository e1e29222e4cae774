//! XML, as the Rust SDK writes and reads it: elements and text. Attributes, which only name spaces need, are passed over.

use crate::world::Refusal;

/// Nothing nests deeper.
const DEEPEST: u32 = 32;

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// The root of a document.
    pub(super) fn read(document: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader { rest: std::str::from_utf8(document).unwrap_or_default() };
        let root = reader.element(0);
        reader.pass_over();
        root.filter(|_| reader.rest.is_empty()).ok_or_else(|| {
            Refusal::new("InvalidInput", "the AWS stand-in can't read the request: it is not well-formed XML")
        })
    }

    /// Takes the one child of this name out, so that what is left is what the model doesn't know.
    pub(super) fn take(&mut self, name: &str) -> Option<Self> {
        let at = self.children.iter().position(|child| child.name == name)?;
        Some(self.children.remove(at))
    }

    /// All children, which must have this name.
    pub(super) fn all(self, name: &str) -> Result<Vec<Self>, Refusal> {
        match self.children.iter().find(|child| child.name != name) {
            Some(other) => Err(unknown(&other.name, &self.name)),
            None => Ok(self.children),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|child| child.text)
    }

    pub(super) fn needed(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name)
            .ok_or_else(|| invalid(format!("Invalid request: Missing field '{name}' in {}", self.name)))
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| invalid(format!("{name} {text:?} is not a number that it can be")))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.text(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(invalid(format!("{name} {other:?} is neither true nor false"))),
        }
    }

    /// Nothing is left.
    pub(super) fn end(self) -> Result<(), Refusal> {
        self.children.first().map_or(Ok(()), |child| Err(unknown(&child.name, &self.name)))
    }
}

fn invalid(why: String) -> Refusal {
    Refusal::new("InvalidInput", why)
}

fn unknown(name: &str, within: &str) -> Refusal {
    Refusal::not_modelled(format!("the element {name} of {within}"))
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// White space, declarations and comments.
    fn pass_over(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let end = match self.rest {
                rest if rest.starts_with("<?") => rest.find("?>").map(|at| at + 2),
                rest if rest.starts_with("<!--") => rest.find("-->").map(|at| at + 3),
                _ => None,
            };
            let Some(end) = end else { return };
            self.rest = &self.rest[end..];
        }
    }

    fn element(&mut self, depth: u32) -> Option<Element> {
        self.pass_over();
        let (tag, after) = self.rest.strip_prefix('<')?.split_once('>')?;
        self.rest = after;
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split_ascii_whitespace().next()?.to_owned();
        let mut element = Element { name, text: String::new(), children: Vec::new() };
        if is_empty {
            return Some(element);
        }
        if depth > DEEPEST {
            return None;
        }
        loop {
            let at = self.rest.find('<')?;
            let text = &self.rest[..at];
            element.text.push_str(&unescape(text)?);
            self.rest = &self.rest[at..];
            if let Some(closing) = self.rest.strip_prefix("</") {
                let (name, after) = closing.split_once('>')?;
                self.rest = after;
                if name.trim_end() != element.name {
                    return None;
                }
                if !element.children.is_empty() {
                    element.text.clear();
                }
                return Some(element);
            }
            if self.rest.starts_with("<!--") {
                self.rest = &self.rest[self.rest.find("-->")? + 3..];
            } else {
                element.children.push(self.element(depth + 1)?);
            }
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, after) = part.split_once(';')?;
        plain.push(match entity {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = entity.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        plain.push_str(after);
    }
    Some(plain)
}

/// An element with this content.
pub(super) fn tag(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// An element with this text.
pub(super) fn text(name: &str, value: &str) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    tag(name, &value)
}

/// The same, if there is a text.
pub(super) fn maybe(name: &str, value: Option<&str>) -> String {
    value.map(|value| text(name, value)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let document = format!(
            "<?xml version=\"1.0\"?>\n<!-- note --><A xmlns=\"u\">{}<E/>\n</A>\n",
            text("B", "x < y & \"z\" > é")
        );
        let mut root = Element::read(document.as_bytes()).expect("well-formed");
        assert_eq!(root.text("B").as_deref(), Some("x < y & \"z\" > é"));
        assert_eq!(root.text("E").as_deref(), Some(""));
        assert_eq!(root.text("F"), None);
        root.end().expect("nothing is left");
        let mut root = Element::read(b"<A>&quot;&#x41;&#66;&apos;</A>").expect("well-formed");
        assert_eq!(std::mem::take(&mut root.text), "\"AB'");
    }

    #[test]
    fn broken_documents_and_unknown_elements_are_refused() {
        let deep = "<A>".repeat(100);
        for broken in ["", "A", "<A>", "<A></B>", "<A>&no;</A>", "<A/><B/>", "<A>\u{0}", deep.as_str()] {
            Element::read(broken.as_bytes()).expect_err(broken);
        }
        let root = Element::read(b"<A><B/></A>").expect("well-formed");
        assert_eq!(root.end().expect_err("B").code, "UnknownOperationException");
    }
}
