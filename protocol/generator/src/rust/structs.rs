//! Struct definitions and their defaults.

use super::{field_name, line, range_in_words};
use crate::schema::{Base, Field, Message, Struct, Versions};

pub(super) fn print(out: &mut String, message: &Message, s: &Struct) -> Result<(), String> {
    let defaults: Vec<String> = s.fields.iter().map(default).collect::<Result<_, _>>()?;
    let derived = s.fields.iter().zip(&defaults).all(|(field, default)| is_rusts_own(field, default));
    let derives = if derived { "Clone, Debug, Default, PartialEq" } else { "Clone, Debug, PartialEq" };
    line(out, 0, &format!("#[derive({derives})]"));
    if s.fields.is_empty() {
        line(out, 0, &format!("pub struct {} {{}}", s.name));
        return Ok(());
    }
    line(out, 0, &format!("pub struct {} {{", s.name));
    for field in &s.fields {
        if let Some(doc) = doc(message, s, field) {
            line(out, 1, &format!("/// {doc}"));
        }
        line(out, 1, &format!("pub {}: {},", field_name(field), field_type(field)));
    }
    out.push_str("}\n");
    if !derived {
        out.push('\n');
        line(out, 0, &format!("impl Default for {} {{", s.name));
        line(out, 1, "fn default() -> Self {");
        line(out, 2, "Self {");
        for (field, default) in s.fields.iter().zip(&defaults) {
            line(out, 3, &format!("{}: {default},", field_name(field)));
        }
        out.push_str("        }\n    }\n}\n");
    }
    Ok(())
}

/// In which versions the field exists and may be null, where that is not all of them.
fn doc(message: &Message, s: &Struct, field: &Field) -> Option<String> {
    let mut parts = Vec::new();
    let shown = |range: Versions| {
        if range.last == message.versions.last {
            format!("from version {}", range.first)
        } else {
            range_in_words(range)
        }
    };
    if field.versions != s.versions {
        parts.push(shown(field.versions));
    }
    let nullable = field.nullable.and(field.versions);
    if !nullable.is_empty() && nullable != field.versions {
        parts.push(format!("nullable {}", shown(nullable)));
    }
    if field.ignorable && field.versions != s.versions {
        parts.push("left out silently in others".to_owned());
    }
    if let Some(tag) = field.tag {
        parts.push(format!("tag {tag}"));
        if is_nullable(field) && field.default.is_none() {
            parts.push("empty by default, not null".to_owned());
        }
    }
    let text = parts.join("; ");
    let mut chars = text.chars();
    chars.next().map(|first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

pub(super) fn is_nullable(field: &Field) -> bool {
    !field.nullable.and(field.versions).is_empty()
}

fn field_type(field: &Field) -> String {
    let mut name = match &field.base {
        Base::Bool => "bool",
        Base::Number(name) => name,
        Base::Uuid => "Uuid",
        Base::String => "String",
        Base::Bytes => "Bytes",
        Base::Struct(name) => name,
    }
    .to_owned();
    if field.is_array {
        name = format!("Vec<{name}>");
    }
    if is_nullable(field) { format!("Option<{name}>") } else { name }
}

/// The value a field has where nothing else was said, as an expression.
fn default(field: &Field) -> Result<String, String> {
    let set = field.default.as_deref();
    if is_nullable(field) && set == Some("null") {
        return Ok("None".to_owned());
    }
    let bad = || format!("field {} cannot have the default {set:?}", field.name);
    let value = match (&field.base, set) {
        _ if field.is_array && set.is_none() => "Vec::new()".to_owned(),
        _ if field.is_array => return Err(bad()),
        (Base::Bool, None) => "false".to_owned(),
        (Base::Bool, Some(value @ ("true" | "false"))) => value.to_owned(),
        (Base::Number("f64"), None) => "0.0".to_owned(),
        (Base::Number(_), None) => "0".to_owned(),
        (Base::Number("i8" | "i16" | "i32" | "i64"), Some(value)) => integer(value).ok_or_else(bad)?,
        (Base::Uuid, None) => "Uuid::ZERO".to_owned(),
        (Base::String, None | Some("")) => "String::new()".to_owned(),
        (Base::Bytes, None) => "Bytes::new()".to_owned(),
        (Base::Struct(name), None) => format!("{name}::default()"),
        _ => return Err(bad()),
    };
    Ok(if is_nullable(field) { format!("Some({value})") } else { value })
}

fn integer(text: &str) -> Option<String> {
    if let Some(hex) = text.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|value| value.to_string());
    }
    text.parse::<i64>().ok().map(|value| value.to_string())
}

fn is_rusts_own(field: &Field, default: &str) -> bool {
    match default {
        "None" => true,
        "false" | "0" | "0.0" | "Uuid::ZERO" | "String::new()" | "Bytes::new()" | "Vec::new()" => true,
        other => {
            matches!(&field.base, Base::Struct(name) if !is_nullable(field) && other == format!("{name}::default()"))
        }
    }
}

/// The test that a field does not have its default, so that leaving it out would lose something.
pub(super) fn is_set(field: &Field, value: &str) -> Result<String, String> {
    let default = default(field)?;
    Ok(match default.as_str() {
        "None" => format!("{value}.is_some()"),
        "Some(String::new())" | "Some(Bytes::new())" | "Some(Vec::new())" => {
            format!("{value}.as_ref().is_none_or(|it| !it.is_empty())")
        }
        "false" => value.to_owned(),
        "true" => format!("!{value}"),
        "String::new()" | "Bytes::new()" | "Vec::new()" => format!("!{value}.is_empty()"),
        "Uuid::ZERO" => format!("!{value}.is_zero()"),
        other => format!("{value} != {other}"),
    })
}
