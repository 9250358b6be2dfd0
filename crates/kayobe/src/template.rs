//! Templates with Ansible's semantics.
//!
//! minijinja parses them; what an expression comes to is decided here, since Ansible's rules are Python's: `%` formats
//! texts, `True` is written with a capital letter, what is not defined may be handed to `default`, and a variable is
//! evaluated when an expression reaches it and not before. What is not known here is refused by its name.

use minijinja::machinery::{WhitespaceConfig, ast, parse};
use minijinja::syntax::SyntaxConfig;

use crate::filters;
use crate::{KayobeError, Value};

/// Longer templates are not evaluated.
const MAX_TEMPLATE: usize = 64 * 1024;
/// Longer texts are not made.
pub(crate) const MAX_TEXT: usize = 1024 * 1024;
/// Deeper expressions are not evaluated. The parser has a limit of its own.
const MAX_DEPTH: usize = 200;

/// What a template can ask of its surroundings.
pub(crate) trait Scope {
    /// A variable.
    fn variable(&self, name: &str) -> Result<Value, KayobeError>;
    /// `lookup('env', …)`.
    fn environment(&self, name: &str) -> String;
    /// That something cannot be evaluated.
    fn refuse(&self, why: String) -> KayobeError;
    /// That something is not defined.
    fn undefined(&self, name: String) -> KayobeError;
}

/// Whether a text is a template.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// What a template comes to.
pub(crate) fn render(text: &str, scope: &dyn Scope) -> Result<Value, KayobeError> {
    if text.len() > MAX_TEMPLATE {
        return Err(scope.refuse(format!("its template is longer than {MAX_TEMPLATE} bytes")));
    }
    let text = &keep_backslashes(text);
    let whitespace =
        WhitespaceConfig { trim_blocks: true, lstrip_blocks: false, keep_trailing_newline: true };
    let tree = parse(text, "template", SyntaxConfig, whitespace)
        .map_err(|error| scope.refuse(format!("this is no template: {}", parse_error(&error))))?;
    let ast::Stmt::Template(template) = tree else {
        return Err(scope.refuse("this is no template".to_owned()));
    };
    let evaluator = Evaluator { scope };
    // One whole `{{ name }}` is the variable as it is; one whole expression may be a list or a mapping.
    if let [ast::Stmt::EmitExpr(emit)] = template.children.as_slice() {
        let value = evaluator.used(&emit.expr, 0)?;
        return match (&emit.expr, value) {
            (ast::Expr::Var(_), value) => Ok(value),
            (_, value @ (Value::List(_) | Value::Map(_) | Value::Omit)) => Ok(value),
            (_, value) => evaluator.as_ansible_reads(value.text().unwrap_or_default()),
        };
    }
    let mut out = String::new();
    evaluator.statements(&template.children, &mut out, 0)?;
    evaluator.as_ansible_reads(out)
}

/// Doubles the backslashes of texts in `{{ … }}`, as Ansible does: they are there for regular expressions, and mean
/// themselves.
fn keep_backslashes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut quote) = (false, None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        match (inside, quote, c) {
            (false, _, '{') if chars.peek() == Some(&'{') => inside = true,
            (true, None, '}') if chars.peek() == Some(&'}') => inside = false,
            (true, None, '\'' | '"') => quote = Some(c),
            (true, Some(_), '\\') => out.push('\\'),
            (true, Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    out
}

/// What minijinja says, without the name that it was given and the lines, which are the template's own.
fn parse_error(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

struct Evaluator<'a> {
    scope: &'a dyn Scope,
}

type Evaluated = Result<Value, KayobeError>;

impl Evaluator<'_> {
    fn refuse(&self, why: impl Into<String>) -> KayobeError {
        self.scope.refuse(why.into())
    }

    /// A text that was made of parts: Ansible reads it once more.
    fn as_ansible_reads(&self, text: String) -> Evaluated {
        match text.trim_start().chars().next() {
            _ if text == "True" => Ok(Value::Bool(true)),
            _ if text == "False" => Ok(Value::Bool(false)),
            Some('[' | '{') => {
                Err(self.refuse("its template makes a text that is read as a list or a mapping"))
            }
            _ => Ok(Value::Text(text)),
        }
    }

    fn statements(&self, list: &[ast::Stmt<'_>], out: &mut String, depth: usize) -> Result<(), KayobeError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse("its template is nested too deep"));
        }
        for statement in list {
            match statement {
                ast::Stmt::EmitRaw(raw) => out.push_str(raw.raw),
                ast::Stmt::EmitExpr(emit) => {
                    let value = self.used(&emit.expr, depth + 1)?;
                    out.push_str(&self.text(&value)?);
                }
                ast::Stmt::IfCond(condition) => {
                    let holds = self.used(&condition.expr, depth + 1)?.is_true();
                    let body = if holds { &condition.true_body } else { &condition.false_body };
                    self.statements(body, out, depth + 1)?;
                }
                other => {
                    return Err(self.refuse(format!(
                        "its template has a {} block, which is not evaluated here",
                        block(other)
                    )));
                }
            }
            if out.len() > MAX_TEXT {
                return Err(self.refuse(format!("its template makes more than {MAX_TEXT} bytes")));
            }
        }
        Ok(())
    }

    fn text(&self, value: &Value) -> Result<String, KayobeError> {
        value.text().ok_or_else(|| self.refuse(format!("{} stands where a text is needed", value.kind())))
    }

    /// A value that is made use of: what is not defined is an error from here on.
    fn used(&self, expression: &ast::Expr<'_>, depth: usize) -> Evaluated {
        self.value(expression, depth).map_err(KayobeError::used)
    }

    /// What an expression comes to, as long as that is not too large: each step can double it.
    fn value(&self, expression: &ast::Expr<'_>, depth: usize) -> Evaluated {
        if depth > MAX_DEPTH {
            return Err(self.refuse("its expression is nested too deep"));
        }
        let value = self.any_value(expression, depth + 1)?;
        if value.weight() > MAX_TEXT {
            return Err(self.refuse(format!("it makes more than {MAX_TEXT} bytes")));
        }
        Ok(value)
    }

    fn any_value(&self, expression: &ast::Expr<'_>, depth: usize) -> Evaluated {
        match expression {
            ast::Expr::Var(variable) => self.variable(variable.id),
            ast::Expr::Const(constant) => self.constant(&constant.value),
            ast::Expr::UnaryOp(operation) => {
                let value = self.used(&operation.expr, depth)?;
                match (&operation.op, value) {
                    (ast::UnaryOpKind::Not, value) => Ok(Value::Bool(!value.is_true())),
                    (ast::UnaryOpKind::Neg, Value::Int(number)) => number
                        .checked_neg()
                        .map(Value::Int)
                        .ok_or_else(|| self.refuse("a number is too large")),
                    (ast::UnaryOpKind::Neg, Value::Float(number)) => Ok(Value::Float(-number)),
                    (ast::UnaryOpKind::Neg, value) => {
                        Err(self.refuse(format!("`-` before {}", value.kind())))
                    }
                }
            }
            ast::Expr::BinOp(operation) => self.operation(operation, depth),
            ast::Expr::Compare(comparison) => {
                let mut left = self.used(&comparison.expr, depth)?;
                for next in &comparison.ops {
                    let right = self.used(&next.expr, depth)?;
                    if !self.compare(next.op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            ast::Expr::IfExpr(choice) => {
                if self.used(&choice.test_expr, depth)?.is_true() {
                    self.value(&choice.true_expr, depth)
                } else if let Some(other) = &choice.false_expr {
                    self.value(other, depth)
                } else {
                    Err(self
                        .scope
                        .undefined("what stands behind the missing `else` of an expression".to_owned()))
                }
            }
            ast::Expr::Filter(filter) => self.filter(filter, depth),
            ast::Expr::Test(test) => self.test(test, depth),
            ast::Expr::GetAttr(attribute) => {
                let value = self.value(&attribute.expr, depth)?;
                self.item(&value, &Value::Text(attribute.name.to_owned()))
            }
            ast::Expr::GetItem(item) => {
                let value = self.value(&item.expr, depth)?;
                let key = self.used(&item.subscript_expr, depth)?;
                self.item(&value, &key)
            }
            ast::Expr::Call(call) => self.call(call, depth),
            ast::Expr::List(list) => list
                .items
                .iter()
                .map(|item| self.used(item, depth))
                .collect::<Result<_, _>>()
                .map(Value::List),
            ast::Expr::Map(map) => {
                let mut entries: Vec<(String, Value)> = Vec::new();
                for (key, value) in map.keys.iter().zip(&map.values) {
                    let key = self.used(key, depth)?;
                    entries.push((self.text(&key)?, self.used(value, depth)?));
                }
                Ok(Value::Map(entries))
            }
            ast::Expr::Slice(_) => Err(self.refuse("a slice (`[a:b]`) is not evaluated here")),
        }
    }

    fn variable(&self, name: &str) -> Evaluated {
        match name {
            "true" | "True" => Ok(Value::Bool(true)),
            "false" | "False" => Ok(Value::Bool(false)),
            "none" | "None" => Ok(Value::None),
            "omit" => Ok(Value::Omit),
            name => self.scope.variable(name),
        }
    }

    fn constant(&self, value: &minijinja::Value) -> Evaluated {
        use minijinja::value::ValueKind;
        match value.kind() {
            ValueKind::None => Ok(Value::None),
            ValueKind::Bool => Ok(Value::Bool(value.is_true())),
            ValueKind::String => Ok(Value::Text(value.as_str().unwrap_or_default().to_owned())),
            ValueKind::Number => match (value.is_integer(), value.as_i64()) {
                (true, Some(number)) => Ok(Value::Int(number)),
                (false, _) => f64::try_from(value.clone())
                    .map(Value::Float)
                    .map_err(|_| self.refuse("a number is too large")),
                (true, None) => Err(self.refuse("a number is too large")),
            },
            kind => Err(self.refuse(format!("a constant of the kind {kind} is not known here"))),
        }
    }

    fn item(&self, value: &Value, key: &Value) -> Evaluated {
        let found = match (value, key) {
            (Value::Map(_), Value::Text(key)) => value.get(key),
            (Value::Map(_), key) => key.text().and_then(|key| value.get(&key)),
            (Value::List(items), Value::Int(index)) => {
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let index = if *index < 0 { index.saturating_add(length) } else { *index };
                usize::try_from(index).ok().and_then(|index| items.get(index))
            }
            (Value::List(items), Value::Text(key)) => {
                key.parse::<usize>().ok().and_then(|index| items.get(index))
            }
            _ => None,
        };
        match found {
            Some(found) => Ok(found.clone()),
            None => {
                let key = key.text().unwrap_or_default();
                Err(self.scope.undefined(format!("the element {key:?} of {}", value.kind())))
            }
        }
    }

    fn operation(&self, operation: &ast::BinOp<'_>, depth: usize) -> Evaluated {
        use ast::BinOpKind as Kind;
        let left = self.used(&operation.left, depth)?;
        match operation.op {
            Kind::ScAnd => return if left.is_true() { self.used(&operation.right, depth) } else { Ok(left) },
            Kind::ScOr => return if left.is_true() { Ok(left) } else { self.used(&operation.right, depth) },
            _ => {}
        }
        let right = self.used(&operation.right, depth)?;
        let compared = match operation.op {
            Kind::Eq => Some(ast::CompareOpKind::Eq),
            Kind::Ne => Some(ast::CompareOpKind::Ne),
            Kind::Lt => Some(ast::CompareOpKind::Lt),
            Kind::Lte => Some(ast::CompareOpKind::Lte),
            Kind::Gt => Some(ast::CompareOpKind::Gt),
            Kind::Gte => Some(ast::CompareOpKind::Gte),
            Kind::In => Some(ast::CompareOpKind::In),
            _ => None,
        };
        if let Some(comparison) = compared {
            return self.compare(comparison, &left, &right).map(Value::Bool);
        }
        match (operation.op, left, right) {
            (Kind::Concat, left, right) => Ok(Value::Text(self.text(&left)? + &self.text(&right)?)),
            (Kind::Rem, Value::Text(format), right) => self.format(&format, right),
            (Kind::Add, Value::Text(left), Value::Text(right)) => Ok(Value::Text(left + &right)),
            (Kind::Add, Value::List(mut left), Value::List(right)) => {
                left.extend(right);
                Ok(Value::List(left))
            }
            (op, Value::Int(left), Value::Int(right)) => self.arithmetic(op, left, right),
            (op, left, right) => {
                Err(self.refuse(format!("`{}` between {} and {}", symbol(op), left.kind(), right.kind())))
            }
        }
    }

    fn arithmetic(&self, op: ast::BinOpKind, left: i64, right: i64) -> Evaluated {
        let number = match op {
            ast::BinOpKind::Add => left.checked_add(right),
            ast::BinOpKind::Sub => left.checked_sub(right),
            ast::BinOpKind::Mul => left.checked_mul(right),
            // Towards minus infinity, as Python does, which for what is counted here is the same.
            ast::BinOpKind::FloorDiv if right > 0 => Some(left.div_euclid(right)),
            ast::BinOpKind::Rem if right > 0 => Some(left.rem_euclid(right)),
            _ => None,
        };
        number.map(Value::Int).ok_or_else(|| self.refuse(format!("`{}` between these numbers", symbol(op))))
    }

    fn compare(&self, op: ast::CompareOpKind, left: &Value, right: &Value) -> Result<bool, KayobeError> {
        use ast::CompareOpKind as Kind;
        let order = || match (left, right) {
            (Value::Text(left), Value::Text(right)) => Ok(left.cmp(right)),
            _ => left
                .number()
                .zip(right.number())
                .and_then(|(left, right)| left.partial_cmp(&right))
                .ok_or_else(|| {
                    self.refuse(format!("{} cannot be compared with {}", left.kind(), right.kind()))
                }),
        };
        match op {
            Kind::Eq => Ok(left.equals(right)),
            Kind::Ne => Ok(!left.equals(right)),
            Kind::Lt => Ok(order()?.is_lt()),
            Kind::Lte => Ok(order()?.is_le()),
            Kind::Gt => Ok(order()?.is_gt()),
            Kind::Gte => Ok(order()?.is_ge()),
            Kind::In => self.contains(right, left),
            Kind::NotIn => self.contains(right, left).map(|contained| !contained),
        }
    }

    fn contains(&self, whole: &Value, part: &Value) -> Result<bool, KayobeError> {
        match (whole, part) {
            (Value::Text(whole), Value::Text(part)) => Ok(whole.contains(part.as_str())),
            (Value::List(items), part) => Ok(items.iter().any(|item| item.equals(part))),
            (Value::Map(_), Value::Text(key)) => Ok(whole.get(key).is_some()),
            _ => Err(self.refuse(format!("`in` asks whether {} is in {}", part.kind(), whole.kind()))),
        }
    }

    /// `'a %s' % value`, as Python formats.
    fn format(&self, format: &str, values: Value) -> Evaluated {
        let mut values = match values {
            Value::List(values) => values,
            value => vec![value],
        }
        .into_iter();
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let kind = chars.next();
            if kind == Some('%') {
                out.push('%');
                continue;
            }
            let value =
                values.next().ok_or_else(|| self.refuse("`%` has fewer values than places for them"))?;
            match (kind, &value) {
                // `None` in a text is nothing by Ansible's rules, but not where Python formats.
                (Some('s'), Value::None) => out.push_str("None"),
                (Some('s'), value) => out.push_str(&self.text(value)?),
                (Some('d'), Value::Int(number)) => out.push_str(&number.to_string()),
                _ => {
                    return Err(self
                        .refuse(format!("the format {format:?} is not evaluated here, only %s, %d and %%")));
                }
            }
        }
        if values.next().is_some() {
            return Err(self.refuse("`%` has more values than places for them"));
        }
        Ok(Value::Text(out))
    }

    fn filter(&self, filter: &ast::Filter<'_>, depth: usize) -> Evaluated {
        let Some(input) = &filter.expr else {
            return Err(self.refuse(format!("the filter `{}` stands before nothing", filter.name)));
        };
        if matches!(filter.name, "default" | "d") {
            return self.default(input, &filter.args, depth);
        }
        let input = self.used(input, depth)?;
        let arguments = self.arguments(&filter.args, depth)?;
        filters::apply(filter.name, input, &arguments).map_err(|why| self.refuse(why))
    }

    /// `default(value, true)`: the one filter that may see what is not defined.
    fn default(&self, input: &ast::Expr<'_>, arguments: &[ast::CallArg<'_>], depth: usize) -> Evaluated {
        let found = self.value(input, depth);
        let mut value = None;
        let mut also_false = None;
        for argument in arguments {
            match argument {
                ast::CallArg::Pos(expression) if value.is_none() => value = Some(expression),
                ast::CallArg::Pos(expression) | ast::CallArg::Kwarg("boolean", expression) => {
                    also_false = Some(expression);
                }
                ast::CallArg::Kwarg("default_value" | "value", expression) => value = Some(expression),
                _ => return Err(self.refuse("`default` takes a value and `true`")),
            }
        }
        let also_false = match also_false {
            None => false,
            Some(expression) => self.used(expression, depth)?.is_true(),
        };
        match found {
            Ok(found) if found.is_true() || !also_false => Ok(found),
            Err(error) if !error.is_undefined() => Err(error),
            _ => value
                .map_or_else(|| Ok(Value::Text(String::new())), |expression| self.value(expression, depth)),
        }
    }

    fn test(&self, test: &ast::Test<'_>, depth: usize) -> Evaluated {
        if matches!(test.name, "defined" | "undefined") {
            let defined = match self.value(&test.expr, depth) {
                Ok(_) => true,
                Err(error) if error.is_undefined() => false,
                Err(error) => return Err(error),
            };
            return Ok(Value::Bool(defined == (test.name == "defined")));
        }
        let value = self.used(&test.expr, depth)?;
        let arguments = self.arguments(&test.args, depth)?;
        filters::test(test.name, &value, &arguments).map(Value::Bool).map_err(|why| self.refuse(why))
    }

    fn arguments(&self, list: &[ast::CallArg<'_>], depth: usize) -> Result<filters::Arguments, KayobeError> {
        let mut arguments = filters::Arguments::default();
        for argument in list {
            match argument {
                ast::CallArg::Pos(expression) => arguments.positional.push(self.used(expression, depth)?),
                ast::CallArg::Kwarg(name, expression) => {
                    arguments.named.push(((*name).to_owned(), self.used(expression, depth)?));
                }
                ast::CallArg::PosSplat(_) | ast::CallArg::KwargSplat(_) => {
                    return Err(self.refuse("`*` in arguments is not evaluated here"));
                }
            }
        }
        Ok(arguments)
    }

    fn call(&self, call: &ast::Call<'_>, depth: usize) -> Evaluated {
        match &call.expr {
            ast::Expr::Var(function) if matches!(function.id, "lookup" | "query" | "q") => {
                self.lookup(function.id != "lookup", &call.args, depth)
            }
            ast::Expr::Var(function) => {
                Err(self.refuse(format!("the function `{}` is not evaluated here", function.id)))
            }
            ast::Expr::GetAttr(method) => {
                let value = self.used(&method.expr, depth)?;
                let arguments = self.arguments(&call.args, depth)?;
                filters::method(method.name, &value, &arguments).map_err(|why| self.refuse(why))
            }
            _ => Err(self.refuse("a call of an expression is not evaluated here")),
        }
    }

    fn lookup(&self, is_query: bool, list: &[ast::CallArg<'_>], depth: usize) -> Evaluated {
        let [ast::CallArg::Pos(plugin), rest @ ..] = list else {
            return Err(self.refuse("a lookup has no name"));
        };
        let plugin = self.used(plugin, depth)?;
        let plugin = self.text(&plugin)?;
        let mut found = Vec::new();
        let mut default = None;
        let mut terms = Vec::new();
        for argument in rest {
            match argument {
                ast::CallArg::Pos(term) => terms.push(term),
                ast::CallArg::Kwarg("default", expression) => default = Some(expression),
                _ => {
                    return Err(
                        self.refuse(format!("these arguments of lookup({plugin:?}) are not evaluated here"))
                    );
                }
            }
        }
        for term in terms {
            let term = self.used(term, depth)?;
            let term = self.text(&term)?;
            found.push(match plugin.trim_start_matches("ansible.builtin.") {
                "vars" => match (self.variable(&term), default) {
                    (Err(error), Some(default)) if error.is_undefined() => self.used(default, depth)?,
                    (found, _) => found.map_err(KayobeError::used)?,
                },
                "env" => Value::Text(self.scope.environment(&term)),
                _ => {
                    return Err(self.refuse(format!(
                        "lookup({plugin:?}) depends on the machine that Ansible runs on, and is not evaluated here"
                    )));
                }
            });
        }
        if is_query {
            return Ok(Value::List(found));
        }
        match <[Value; 1]>::try_from(found) {
            Ok([value]) => Ok(value),
            Err(found) => found
                .iter()
                .map(|value| self.text(value))
                .collect::<Result<Vec<_>, _>>()
                .map(|texts| Value::Text(texts.join(","))),
        }
    }
}

fn block(statement: &ast::Stmt<'_>) -> &'static str {
    match statement {
        ast::Stmt::ForLoop(_) => "{% for %}",
        ast::Stmt::Set(_) | ast::Stmt::SetBlock(_) => "{% set %}",
        ast::Stmt::WithBlock(_) => "{% with %}",
        ast::Stmt::FilterBlock(_) => "{% filter %}",
        _ => "{% … %}",
    }
}

fn symbol(op: ast::BinOpKind) -> &'static str {
    match op {
        ast::BinOpKind::Add => "+",
        ast::BinOpKind::Sub => "-",
        ast::BinOpKind::Mul => "*",
        ast::BinOpKind::Div => "/",
        ast::BinOpKind::FloorDiv => "//",
        ast::BinOpKind::Rem => "%",
        ast::BinOpKind::Pow => "**",
        _ => "~",
    }
}
