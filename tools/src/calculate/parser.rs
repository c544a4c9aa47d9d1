//! Reading an expression, by precedence climbing, and calculating it on the way.

use super::functions::{FUNCTIONS, call, constant};
use super::number::Number;
use super::{CalculateError, MOST_CHARACTERS};

pub(super) fn evaluate(expression: &str) -> Result<Number, CalculateError> {
    let mut parser = Parser { characters: expression.chars().collect(), position: 0, depth: 0, in_call: false };
    if parser.peek().is_none() {
        return Err(CalculateError::Empty);
    }
    let operand = parser.sum()?;
    match parser.peek() {
        None => Ok(operand.value),
        Some(_) => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    characters: Vec<char>,
    position: usize,
    depth: usize,
    /// Between the parentheses of a function a comma parts arguments, not thousands.
    in_call: bool,
}

#[derive(Clone, Copy)]
struct Operand {
    value: Number,
    /// Written as a percentage and nothing else, so that `200 + 10%` can mean 220.
    is_percentage: bool,
}

impl From<Number> for Operand {
    fn from(value: Number) -> Self {
        Self { value, is_percentage: false }
    }
}

impl Parser {
    /// `a + b - c`
    fn sum(&mut self) -> Result<Operand, CalculateError> {
        self.enter()?;
        let mut left = self.product()?;
        loop {
            let subtract = match self.peek() {
                Some('+') => false,
                Some('-' | '−' | '–') => true,
                _ => break,
            };
            self.position += 1;
            let right = self.product()?;
            let by = if right.is_percentage && !left.is_percentage {
                left.value.multiply(right.value)?
            } else {
                right.value
            };
            let value = if subtract { left.value.subtract(by)? } else { left.value.add(by)? };
            left = Operand { value, is_percentage: left.is_percentage && right.is_percentage };
        }
        self.depth -= 1;
        Ok(left)
    }

    /// `a * b / c % d`, `a of b`
    fn product(&mut self) -> Result<Operand, CalculateError> {
        let mut left = self.signed()?;
        loop {
            match self.peek() {
                Some('*' | '×' | '·' | '⋅') => {
                    self.position += 1;
                    left = left.value.multiply(self.signed()?.value)?.into();
                }
                Some('/' | '÷') => {
                    self.position += 1;
                    left = left.value.divide(self.signed()?.value)?.into();
                }
                Some('%') => {
                    self.position += 1;
                    left = left.value.remainder(self.signed()?.value)?.into();
                }
                Some('o' | 'O' | 'm' | 'M') => {
                    let before = self.position;
                    match self.word().as_str() {
                        "of" => left = left.value.multiply(self.signed()?.value)?.into(),
                        "mod" => left = left.value.remainder(self.signed()?.value)?.into(),
                        _ => {
                            self.position = before;
                            return Err(self.unexpected("an operator"));
                        }
                    }
                }
                _ => return Ok(left),
            }
        }
    }

    /// `-a`; `-2^2` is -4, as in mathematics.
    fn signed(&mut self) -> Result<Operand, CalculateError> {
        match self.peek() {
            Some('-' | '−' | '–') => {
                self.enter()?;
                self.position += 1;
                let operand = self.signed()?;
                self.depth -= 1;
                Ok(Operand { value: operand.value.negate()?, ..operand })
            }
            Some('+') => {
                self.enter()?;
                self.position += 1;
                let operand = self.signed()?;
                self.depth -= 1;
                Ok(operand)
            }
            _ => self.power(),
        }
    }

    /// `a ^ b`, from right to left
    fn power(&mut self) -> Result<Operand, CalculateError> {
        let base = self.postfix()?;
        let is_power = match self.peek() {
            Some('^') => 1,
            Some('*') if self.characters.get(self.position + 1) == Some(&'*') => 2,
            _ => return Ok(base),
        };
        self.position += is_power;
        self.enter()?;
        let exponent = self.signed()?;
        self.depth -= 1;
        Ok(base.value.power(exponent.value)?.into())
    }

    /// `a!`, `a%`, `a²`
    fn postfix(&mut self) -> Result<Operand, CalculateError> {
        let mut operand = self.primary()?;
        loop {
            let touches = self.characters.get(self.position).is_some_and(|next| !next.is_whitespace());
            match self.peek() {
                Some('!') => {
                    self.position += 1;
                    operand = operand.value.factorial()?.into();
                }
                Some('²') => {
                    self.position += 1;
                    operand = operand.value.power(Number::whole(2))?.into();
                }
                Some('³') => {
                    self.position += 1;
                    operand = operand.value.power(Number::whole(3))?.into();
                }
                Some('%') if self.is_percent(touches) => {
                    self.position += 1;
                    operand = Operand { value: operand.value.divide(Number::whole(100))?, is_percentage: true };
                }
                Some('p' | 'P') => {
                    let before = self.position;
                    if self.word() != "percent" {
                        self.position = before;
                        return Err(self.unexpected("an operator"));
                    }
                    operand = Operand { value: operand.value.divide(Number::whole(100))?, is_percentage: true };
                }
                _ => return Ok(operand),
            }
        }
    }

    /// A `%` with something to divide by after it is a remainder. A sign there is one only
    /// if the `%` stands apart: `10 % -3`, but `10% - 3`.
    fn is_percent(&mut self, touches: bool) -> bool {
        let before = self.position;
        self.position += 1;
        let next = self.peek();
        let word = if next.is_some_and(char::is_alphabetic) { self.word() } else { String::new() };
        self.position = before;
        match next {
            Some('(' | '0'..='9' | '.' | '√') => false,
            Some('-' | '+' | '−' | '–') => touches,
            Some(letter) if letter.is_alphabetic() => matches!(word.as_str(), "of" | "mod"),
            _ => true,
        }
    }

    /// A number, a name, a call, parentheses
    fn primary(&mut self) -> Result<Operand, CalculateError> {
        match self.peek() {
            Some('(') => {
                self.position += 1;
                let in_call = std::mem::replace(&mut self.in_call, false);
                let inner = self.sum()?;
                self.close()?;
                self.in_call = in_call;
                Ok(inner.value.into())
            }
            Some('√') => {
                self.enter()?;
                self.position += 1;
                let operand = self.postfix()?;
                self.depth -= 1;
                Ok(call("sqrt", &[operand.value])?.into())
            }
            Some('0'..='9' | '.') => Ok(self.number()?.into()),
            Some(letter) if letter.is_alphabetic() => self.named(),
            _ => Err(self.unexpected("a number")),
        }
    }

    fn named(&mut self) -> Result<Operand, CalculateError> {
        let name = self.word();
        if self.peek() != Some('(') {
            return constant(&name).map(Operand::from).ok_or_else(|| unknown(name));
        }
        if !FUNCTIONS.contains(&name.as_str()) {
            return Err(unknown(name));
        }
        self.position += 1;
        let in_call = std::mem::replace(&mut self.in_call, true);
        let mut arguments = Vec::new();
        if self.peek() != Some(')') {
            loop {
                arguments.push(self.sum()?.value);
                if !matches!(self.peek(), Some(',' | ';')) {
                    break;
                }
                self.position += 1;
            }
        }
        self.close()?;
        self.in_call = in_call;
        Ok(call(&name, &arguments)?.into())
    }

    fn number(&mut self) -> Result<Number, CalculateError> {
        let start = self.position;
        let is_digit = |character: Option<&char>| character.is_some_and(char::is_ascii_digit);
        let mut groups = false;
        loop {
            match self.characters.get(self.position) {
                Some('0'..='9') => {}
                Some('_') if is_digit(self.characters.get(self.position + 1)) => {}
                Some(',') if !self.in_call && is_digit(self.characters.get(self.position + 1)) => groups = true,
                _ => break,
            }
            self.position += 1;
        }
        let whole: String = self.characters[start..self.position].iter().collect();
        if self.characters.get(self.position) == Some(&'.') {
            self.position += 1;
            while is_digit(self.characters.get(self.position)) {
                self.position += 1;
            }
        }
        self.exponent();
        let text: String = self.characters[start..self.position].iter().collect();
        let error = || CalculateError::Number { text: text.clone() };
        if groups && !well_grouped(&whole) {
            return Err(error());
        }
        if self.characters.get(self.position) == Some(&'.') {
            return Err(error());
        }
        let digits: String = text.chars().filter(|character| !matches!(character, ',' | '_')).collect();
        if !digits.starts_with(|first: char| first.is_ascii_digit())
            && !digits[1..].starts_with(|next: char| next.is_ascii_digit())
        {
            return Err(error());
        }
        Number::parse(&digits)
    }

    /// `e-3`, but not the `e` of `2 exp(1)`.
    fn exponent(&mut self) {
        if !matches!(self.characters.get(self.position), Some('e' | 'E')) {
            return;
        }
        let signed = usize::from(matches!(self.characters.get(self.position + 1), Some('+' | '-')));
        let mut end = self.position + 1 + signed;
        let first_digit = end;
        while self.characters.get(end).is_some_and(char::is_ascii_digit) {
            end += 1;
        }
        if end > first_digit {
            self.position = end;
        }
    }

    fn word(&mut self) -> String {
        self.peek();
        let start = self.position;
        while self.characters.get(self.position).is_some_and(|next| next.is_alphanumeric() || *next == '_') {
            self.position += 1;
        }
        self.characters[start..self.position].iter().collect::<String>().to_lowercase()
    }

    fn close(&mut self) -> Result<(), CalculateError> {
        if self.peek() == Some(')') {
            self.position += 1;
            return Ok(());
        }
        Err(self.unexpected(if self.in_call { "a comma or a closing parenthesis" } else { "a closing parenthesis" }))
    }

    /// The next character that is not white space, without taking it.
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.position).is_some_and(|next| next.is_whitespace()) {
            self.position += 1;
        }
        self.characters.get(self.position).copied()
    }

    fn enter(&mut self) -> Result<(), CalculateError> {
        const DEEPEST: usize = 100;
        self.depth += 1;
        if self.depth > DEEPEST { Err(CalculateError::TooDeep) } else { Ok(()) }
    }

    fn unexpected(&mut self, expected: &'static str) -> CalculateError {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(character) => format!("{character:?}"),
        };
        CalculateError::Unexpected { expected, position: (self.position + 1).min(MOST_CHARACTERS), found }
    }
}

/// `1,234,567`: one to three digits, then three each.
fn well_grouped(whole: &str) -> bool {
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3)
}

fn unknown(name: String) -> CalculateError {
    let suggestion = crate::nearest(&name, FUNCTIONS.into_iter().chain(["pi", "tau"])).map(str::to_owned);
    CalculateError::UnknownName { name, suggestion }
}
