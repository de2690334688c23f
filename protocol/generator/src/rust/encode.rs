//! Prints the function that writes a struct.

use super::structs::{is_nullable, is_set};
use super::{condition, condition_not, field_name, flexible_in, line, uses_version};
use crate::schema::{Base, Field, Message, Struct};

pub(super) fn print(out: &mut String, message: &Message, s: &Struct, function: &str) -> Result<(), String> {
    let mut body = String::new();
    if s.name == message.name {
        line(&mut body, 2, "check_encodable::<Self>(version)?;");
    }
    if flexible_in(message, None, s.versions) == "flexible" {
        line(&mut body, 2, &format!("let flexible = version >= {};", message.flexible.first));
    }
    for field in s.fields.iter().filter(|field| field.tag.is_none()) {
        let this = format!("self.{}", field_name(field));
        let Some(condition) = condition(field.versions, s.versions) else {
            value(&mut body, 2, message, field, &this);
            continue;
        };
        line(&mut body, 2, &format!("if {condition} {{"));
        value(&mut body, 3, message, field, &this);
        if !field.ignorable {
            line(&mut body, 2, "} else {");
            line(
                &mut body,
                3,
                &format!("no_such_field({}, \"{}\", version)?;", is_set(field, &this)?, field.name),
            );
        }
        line(&mut body, 2, "}");
    }
    tags(&mut body, message, s)?;
    line(&mut body, 2, "Ok(())");
    let version = if uses_version(&body) { "version" } else { "_version" };
    let writer = if body.contains("w.") || body.contains("(w,") { "w" } else { "_w" };
    line(
        out,
        1,
        &format!("{function}(&self, {writer}: &mut Writer, {version}: i16) -> Result<(), EncodeError> {{"),
    );
    out.push_str(&body);
    line(out, 1, "}");
    Ok(())
}

fn tags(out: &mut String, message: &Message, s: &Struct) -> Result<(), String> {
    let flexible = flexible_in(message, None, s.versions);
    let mut known: Vec<&Field> = s.fields.iter().filter(|field| field.tag.is_some()).collect();
    known.sort_by_key(|field| field.tag);
    for field in &known {
        let set = is_set(field, &format!("self.{}", field_name(field)))?;
        let Some(absent) = condition_not(field.versions, s.versions) else { continue };
        if !field.ignorable {
            line(out, 2, &format!("no_such_field({absent} && {set}, \"{}\", version)?;", field.name));
        }
    }
    if known.is_empty() || flexible == "false" {
        match flexible {
            "true" => line(out, 2, "w.no_tags();"),
            "flexible" => line(out, 2, "if flexible { w.no_tags(); }"),
            _ => {}
        }
        return Ok(());
    }
    let depth = if flexible == "true" { 2 } else { 3 };
    if flexible != "true" {
        line(out, 2, "if flexible {");
    }
    let mut flags = Vec::new();
    for field in &known {
        let name = field_name(field);
        let set = is_set(field, &format!("self.{name}"))?;
        let flag = format!("has_{}", name.trim_start_matches("r#"));
        let there = condition(field.versions, s.versions.and(message.flexible)).map(|c| format!("{c} && "));
        line(out, depth, &format!("let {flag} = {}{set};", there.unwrap_or_default()));
        flags.push(flag);
    }
    let count: Vec<String> = flags.iter().map(|flag| format!("u32::from({flag})")).collect();
    line(out, depth, &format!("w.unsigned_varint({});", count.join(" + ")));
    for (field, flag) in known.iter().zip(flags) {
        line(out, depth, &format!("if {flag} {{"));
        line(out, depth + 1, &format!("let start = w.begin_tag({});", field.tag.unwrap_or_default()));
        value(out, depth + 1, message, field, &format!("self.{}", field_name(field)));
        line(out, depth + 1, "w.end_tag(start)?;");
        line(out, depth, "}");
    }
    if flexible != "true" {
        line(out, 2, "}");
    }
    Ok(())
}

/// Statements that write a field in any version that has it.
fn value(out: &mut String, depth: usize, message: &Message, field: &Field, this: &str) {
    let flexible = flexible_in(message, Some(field), field.versions);
    let nullable = is_nullable(field);
    if nullable && let Some(never_null) = condition_not(field.nullable, field.versions) {
        let null = format!("{never_null} && {this}.is_none()");
        line(out, depth, &format!("not_null({null}, \"{}\", version)?;", field.name));
    }
    if field.is_array {
        return array(out, depth, field, this, flexible);
    }
    let text = match &field.base {
        Base::Bool => format!("w.bool({this});"),
        Base::Number(name) => format!("w.{name}({this});"),
        Base::Uuid => format!("w.uuid({this});"),
        Base::String if nullable => format!("w.nullable_string({this}.as_deref(), {flexible})?;"),
        Base::String => format!("w.string(&{this}, {flexible})?;"),
        Base::Bytes if nullable => format!("w.nullable_bytes({this}.as_deref(), {flexible})?;"),
        Base::Bytes => format!("w.bytes(&{this}, {flexible})?;"),
        Base::Struct(_) if nullable => return nullable_struct(out, depth, field, this),
        Base::Struct(_) => format!("{this}.write(w, version)?;"),
    };
    line(out, depth, &text);
}

fn nullable_struct(out: &mut String, depth: usize, field: &Field, this: &str) {
    let presence = if field.tag.is_some() { "w.presence_tagged" } else { "w.presence" };
    let presence = format!("{presence}({this}.is_some());");
    match condition(field.nullable, field.versions) {
        // Where the field cannot be null, nothing says that it is not.
        Some(condition) => line(out, depth, &format!("if {condition} {{ {presence} }}")),
        None => line(out, depth, &presence),
    }
    line(out, depth, &format!("if let Some(it) = &{this} {{ it.write(w, version)?; }}"));
}

fn array(out: &mut String, depth: usize, field: &Field, this: &str, flexible: &str) {
    let element = match &field.base {
        Base::Bool => "w.bool(*it);".to_owned(),
        Base::Number(name) => format!("w.{name}(*it);"),
        Base::Uuid => "w.uuid(*it);".to_owned(),
        Base::String => format!("w.string(it, {flexible})?;"),
        Base::Bytes => format!("w.bytes(it, {flexible})?;"),
        Base::Struct(_) => "it.write(w, version)?;".to_owned(),
    };
    let (len, elements) = if is_nullable(field) {
        (format!("{this}.as_ref().map(Vec::len)"), format!("{this}.iter().flatten()"))
    } else {
        (format!("Some({this}.len())"), format!("&{this}"))
    };
    line(out, depth, &format!("w.array_len({len}, {flexible})?;"));
    line(out, depth, &format!("for it in {elements} {{ {element} }}"));
}
