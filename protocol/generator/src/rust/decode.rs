//! Prints the function that reads a struct.

use super::structs::is_nullable;
use super::{condition, element_bytes_min, field_name, flexible_in, line, uses_version};
use crate::schema::{Base, Field, Message, Struct, Versions};

pub(super) fn print(out: &mut String, message: &Message, s: &Struct, function: &str) {
    let mut body = String::new();
    if s.name == message.name {
        line(&mut body, 2, "check_decodable::<Self>(version)?;");
    }
    if flexible_in(message, None, s.versions) == "flexible" {
        line(&mut body, 2, &format!("let flexible = version >= {};", message.flexible.first));
    }
    line(
        &mut body,
        2,
        &format!("let {}it = Self::default();", if s.fields.is_empty() { "" } else { "mut " }),
    );
    for field in s.fields.iter().filter(|field| field.tag.is_none()) {
        let assign = format!("it.{} = {};", field_name(field), value(message, field));
        line(&mut body, 2, &when(condition(field.versions, s.versions), &assign));
    }
    tags(&mut body, message, s);
    line(&mut body, 2, "Ok(it)");
    let version = if uses_version(&body) { "version" } else { "_version" };
    line(out, 1, &format!("{function}(r: &mut Reader<'_>, {version}: i16) -> Result<Self, DecodeError> {{"));
    out.push_str(&body);
    line(out, 1, "}");
}

fn when(condition: Option<String>, statement: &str) -> String {
    match condition {
        Some(condition) => format!("if {condition} {{ {statement} }}"),
        None => statement.to_owned(),
    }
}

fn tags(out: &mut String, message: &Message, s: &Struct) {
    let known: Vec<&Field> = s.fields.iter().filter(|field| field.tag.is_some()).collect();
    let flexible = flexible_in(message, None, s.versions);
    if flexible == "false" {
        return;
    }
    if known.is_empty() {
        line(
            out,
            2,
            &if flexible == "true" {
                "r.skip_tags()?;".to_owned()
            } else {
                when(Some(flexible.to_owned()), "r.skip_tags()?;")
            },
        );
        return;
    }
    let depth = if flexible == "true" { 2 } else { 3 };
    if flexible != "true" {
        line(out, 2, "if flexible {");
    }
    line(out, depth, "for _ in 0..r.tag_count()? {");
    line(out, depth + 1, "match r.tag()? {");
    for field in known {
        let tag = field.tag.unwrap_or_default();
        let guard = condition(field.versions, s.versions.and(message.flexible));
        let guard = guard.map(|guard| format!(" if {guard}")).unwrap_or_default();
        let assign = format!("it.{} = {}", field_name(field), value(message, field));
        line(out, depth + 2, &format!("({tag}, _){guard} => {assign},"));
    }
    line(out, depth + 2, "(_, bytes) => r.skip(bytes)?,");
    line(out, depth + 1, "}");
    line(out, depth, "}");
    if flexible != "true" {
        line(out, 2, "}");
    }
}

/// The expression that reads a field in any version that has it.
fn value(message: &Message, field: &Field) -> String {
    if !is_nullable(field) {
        return value_where(message, field, field.versions, false);
    }
    let nullable = value_where(message, field, field.versions.and(field.nullable), true);
    match condition(field.nullable, field.versions) {
        None => nullable,
        Some(condition) => {
            let never_null = value_where(message, field, field.versions, false);
            format!("if {condition} {{ {nullable} }} else {{ Some({never_null}) }}")
        }
    }
}

fn value_where(message: &Message, field: &Field, versions: Versions, nullable: bool) -> String {
    let flexible = flexible_in(message, Some(field), versions);
    let prefix = if nullable { "nullable_" } else { "" };
    if field.is_array {
        let element = match &field.base {
            Base::Bool => "Reader::bool".to_owned(),
            Base::Number(name) => format!("Reader::{name}"),
            Base::Uuid => "Reader::uuid".to_owned(),
            Base::String => format!("|r| r.string({flexible})"),
            Base::Bytes => format!("|r| r.bytes({flexible})"),
            Base::Struct(name) => format!("|r| {name}::read(r, version)"),
        };
        let bytes_min = element_bytes_min(message, &field.base, flexible);
        return format!("r.{prefix}array({flexible}, {bytes_min}, {element})?");
    }
    match &field.base {
        Base::Bool => "r.bool()?".to_owned(),
        Base::Number(name) => format!("r.{name}()?"),
        Base::Uuid => "r.uuid()?".to_owned(),
        Base::String => format!("r.{prefix}string({flexible})?"),
        Base::Bytes => format!("r.{prefix}bytes({flexible})?"),
        Base::Struct(name) if nullable => {
            let is_present = if field.tag.is_some() { "is_present_tagged" } else { "is_present" };
            format!("if r.{is_present}()? {{ Some({name}::read(r, version)?) }} else {{ None }}")
        }
        Base::Struct(name) => format!("{name}::read(r, version)?"),
    }
}
