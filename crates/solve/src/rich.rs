//! Rich dependencies: `(a if b else c)`.
//!
//! The grammar is that of librpm's `rpmrichParse` (rpm 4.18, `lib/rpmds.c`): operands are capabilities or further
//! parentheses, `and`, `or` and `with` may be chained, the others may not.

use drivetrain_model::{Capability, Comparison, Evr};

/// How deep parentheses may stand in each other. Real packages have three.
const MAX_DEPTH: usize = 20;

/// A dependency, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency {
    /// One capability.
    Simple(Capability),
    /// All of these.
    And(Vec<Dependency>),
    /// One of these.
    Or(Vec<Dependency>),
    /// All of these by one package.
    With(Vec<Dependency>),
    /// The first by a package that does not provide the second.
    Without(Box<Dependency>, Box<Dependency>),
    /// The first where the second is there, otherwise the third.
    If(Box<Dependency>, Box<Dependency>, Option<Box<Dependency>>),
    /// The first where the second is not there, otherwise the third.
    Unless(Box<Dependency>, Box<Dependency>, Option<Box<Dependency>>),
}

/// Why a text is no rich dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RichError {
    /// It ends too early.
    #[error("a parenthesis is not closed")]
    Unclosed,
    /// Something stands after its end.
    #[error("something follows after its end")]
    Trailing,
    /// An operand is missing.
    #[error("an operand is missing")]
    Operand,
    /// A word that is no operator.
    #[error("an operator is not known")]
    Operator,
    /// Operators that do not go together without parentheses.
    #[error("operators are chained that may not be")]
    Chain,
    /// Deeper than any real one.
    #[error("parentheses are nested more than {MAX_DEPTH} deep")]
    Depth,
}

impl Dependency {
    /// Takes a capability of the metadata: a rich one has its whole text as its name.
    ///
    /// # Errors
    /// Where it begins with a parenthesis, and is no rich dependency.
    pub fn of(capability: &Capability) -> Result<Self, RichError> {
        if capability.constraint.is_none() && capability.name.starts_with('(') {
            return Self::parse(&capability.name);
        }
        Ok(Self::Simple(capability.clone()))
    }

    /// Reads a rich dependency.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn parse(text: &str) -> Result<Self, RichError> {
        let mut parser = Parser { rest: text, depth: 0 };
        let dependency = parser.parenthesis()?;
        if parser.rest.is_empty() { Ok(dependency) } else { Err(RichError::Trailing) }
    }

    /// The capabilities that stand in it, wherever.
    pub fn capabilities(&self) -> Vec<&Capability> {
        let mut found = Vec::new();
        let mut open = vec![self];
        while let Some(dependency) = open.pop() {
            match dependency {
                Self::Simple(capability) => found.push(capability),
                Self::And(all) | Self::Or(all) | Self::With(all) => open.extend(all.iter().rev()),
                Self::Without(one, other) => open.extend([other.as_ref(), one.as_ref()]),
                Self::If(then, condition, otherwise) | Self::Unless(then, condition, otherwise) => {
                    open.extend(otherwise.as_deref());
                    open.extend([condition.as_ref(), then.as_ref()]);
                }
            }
        }
        found
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    And,
    Or,
    With,
    Without,
    If,
    Unless,
    Else,
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn parenthesis(&mut self) -> Result<Dependency, RichError> {
        if !self.take("(") {
            return Err(RichError::Operand);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(RichError::Depth);
        }
        let first = self.operand()?;
        let dependency = match self.operator()? {
            None => first,
            Some(Operator::Without) => {
                let second = self.operand()?;
                self.close()?;
                Dependency::Without(first.into(), second.into())
            }
            Some(operator @ (Operator::If | Operator::Unless)) => self.condition(operator, first)?,
            Some(Operator::Else) => return Err(RichError::Chain),
            Some(operator) => self.chain(operator, first)?,
        };
        self.depth -= 1;
        Ok(dependency)
    }

    fn chain(&mut self, operator: Operator, first: Dependency) -> Result<Dependency, RichError> {
        let mut all = vec![first];
        loop {
            all.push(self.operand()?);
            match self.operator()? {
                None => break,
                Some(next) if next == operator => {}
                Some(_) => return Err(RichError::Chain),
            }
        }
        Ok(match operator {
            Operator::And => Dependency::And(all),
            Operator::Or => Dependency::Or(all),
            _ => Dependency::With(all),
        })
    }

    fn condition(&mut self, operator: Operator, then: Dependency) -> Result<Dependency, RichError> {
        let condition = Box::new(self.operand()?);
        let otherwise = match self.operator()? {
            None => None,
            Some(Operator::Else) => {
                let otherwise = self.operand()?;
                self.close()?;
                Some(Box::new(otherwise))
            }
            Some(_) => return Err(RichError::Chain),
        };
        let then = Box::new(then);
        Ok(match operator {
            Operator::If => Dependency::If(then, condition, otherwise),
            _ => Dependency::Unless(then, condition, otherwise),
        })
    }

    fn operand(&mut self) -> Result<Dependency, RichError> {
        self.space();
        if self.rest.starts_with('(') {
            return self.parenthesis();
        }
        let name = self.word()?;
        self.space();
        let signs = self.rest.len() - self.rest.trim_start_matches(['<', '=', '>']).len();
        let (sign, rest) = self.rest.split_at(signs);
        if sign.is_empty() {
            return Ok(Dependency::Simple(Capability::unversioned(name)));
        }
        let comparison = Comparison::from_sign(sign).ok_or(RichError::Operator)?;
        self.rest = rest;
        self.space();
        let evr = Evr::parse(self.word()?);
        Ok(Dependency::Simple(Capability::versioned(name, comparison, evr)))
    }

    /// Up to a space, a comma, or the parenthesis that closes the one around: names have balanced ones of their
    /// own, as in `libibverbs.so.1()(64bit)`.
    fn word(&mut self) -> Result<&'a str, RichError> {
        let mut open = 0_usize;
        let end = self.rest.bytes().position(|byte| match byte {
            b' ' | b',' => true,
            b'(' => {
                open += 1;
                false
            }
            b')' if open == 0 => true,
            b')' => {
                open -= 1;
                false
            }
            _ => false,
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() {
            return Err(RichError::Operand);
        }
        self.rest = rest;
        Ok(word)
    }

    /// The operator, or `None` where the parenthesis closes.
    fn operator(&mut self) -> Result<Option<Operator>, RichError> {
        self.space();
        if self.take(")") {
            return Ok(None);
        }
        let end = self.rest.find(' ').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let operator = match word {
            "" => return Err(RichError::Unclosed),
            "and" => Operator::And,
            "or" => Operator::Or,
            "with" => Operator::With,
            "without" => Operator::Without,
            "if" => Operator::If,
            "unless" => Operator::Unless,
            "else" => Operator::Else,
            _ => return Err(RichError::Operator),
        };
        self.rest = rest;
        Ok(Some(operator))
    }

    fn close(&mut self) -> Result<(), RichError> {
        match self.operator()? {
            None => Ok(()),
            Some(_) => Err(RichError::Chain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple(name: &str) -> Dependency {
        Dependency::Simple(Capability::unversioned(name))
    }

    #[test]
    fn what_packages_have_is_read() {
        let parse = |text| Dependency::parse(text).unwrap();
        assert_eq!(parse("(a or b or c)"), Dependency::Or(vec![simple("a"), simple("b"), simple("c")]));
        assert_eq!(
            parse("(mlnx-tools >= 5.2.0 if (kernel-core and dkms) else /usr/bin/env)"),
            Dependency::If(
                Box::new(Dependency::Simple(Capability::versioned(
                    "mlnx-tools",
                    Comparison::GreaterOrEqual,
                    Evr::parse("5.2.0"),
                ))),
                Box::new(Dependency::And(vec![simple("kernel-core"), simple("dkms")])),
                Some(Box::new(simple("/usr/bin/env"))),
            )
        );
        assert_eq!(
            parse("(libibverbs.so.1()(64bit) with libibverbs = 2510)"),
            Dependency::With(vec![
                simple("libibverbs.so.1()(64bit)"),
                Dependency::Simple(Capability::versioned(
                    "libibverbs",
                    Comparison::Equal,
                    Evr::parse("2510")
                )),
            ])
        );
        assert_eq!(parse("(a without b)"), Dependency::Without(Box::new(simple("a")), Box::new(simple("b"))));
        assert_eq!(
            parse("(a unless b)"),
            Dependency::Unless(Box::new(simple("a")), Box::new(simple("b")), None)
        );
        assert_eq!(parse("((a))"), simple("a"));
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, error) in [
            ("(a", RichError::Unclosed),
            ("(a b)", RichError::Operator),
            ("(a or b and c)", RichError::Chain),
            ("(a if b if c)", RichError::Chain),
            ("(a without b without c)", RichError::Chain),
            ("(a else b)", RichError::Chain),
            ("()", RichError::Operand),
            ("(a or )", RichError::Operand),
            ("(a) b", RichError::Trailing),
            ("a", RichError::Operand),
            ("(a <> 1)", RichError::Operator),
        ] {
            assert_eq!(Dependency::parse(text), Err(error), "{text}");
        }
        let deep = "(".repeat(50_000);
        assert_eq!(Dependency::parse(&deep), Err(RichError::Depth));
    }

    #[test]
    fn all_capabilities_are_found_in_their_order() {
        let dependency = Dependency::parse("((a or b) if (c with d) else (e unless f))").unwrap();
        let names: Vec<&str> =
            dependency.capabilities().into_iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
    }
}
