//! Numbers: fractions while they fit, floating point beyond.

use std::fmt;

use super::CalculateError;

/// A number. `Exact` is in lowest terms with a positive denominator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Exact { numerator: i128, denominator: i128 },
    Float(f64),
}

/// What a calculation on exact numbers yields if it does not overflow.
type Fraction = Option<(i128, i128)>;

impl Number {
    pub(super) const fn whole(value: i128) -> Self {
        Self::Exact { numerator: value, denominator: 1 }
    }

    fn fraction(numerator: i128, denominator: i128) -> Option<Self> {
        let divisor = i128::try_from(gcd(numerator.unsigned_abs(), denominator.unsigned_abs())).ok()?.max(1);
        let sign = if denominator < 0 { -1 } else { 1 };
        Some(Self::Exact {
            numerator: (numerator / divisor).checked_mul(sign)?,
            denominator: (denominator / divisor).checked_mul(sign)?,
        })
    }

    /// A floating-point result; one that is a whole number is exact again.
    pub(super) fn float(value: f64) -> Result<Self, CalculateError> {
        const EXACT_UP_TO: f64 = 9_007_199_254_740_992.0;
        if value.is_nan() {
            return Err(CalculateError::Undefined("the result is not a real number".to_owned()));
        }
        if value.is_infinite() {
            return Err(CalculateError::TooLarge);
        }
        if value.fract() == 0.0 && value.abs() < EXACT_UP_TO {
            return Ok(Self::whole(value as i128));
        }
        Ok(Self::Float(value))
    }

    /// Digits with at most one point and an exponent, as the parser found them.
    pub(super) fn parse(digits: &str) -> Result<Self, CalculateError> {
        let error = || CalculateError::Number { text: digits.to_owned() };
        let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
        let exponent: i32 = exponent.parse().map_err(|_| error())?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exact = || -> Option<Self> {
            let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
            let scale = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
            let power = 10_i128.checked_pow(scale.unsigned_abs())?;
            if scale < 0 { Self::fraction(digits, power) } else { Some(Self::whole(digits.checked_mul(power)?)) }
        };
        match exact() {
            Some(number) => Ok(number),
            None => Self::float(digits.parse().map_err(|_| error())?),
        }
    }

    pub(super) fn to_f64(self) -> f64 {
        match self {
            Self::Exact { numerator, denominator } => numerator as f64 / denominator as f64,
            Self::Float(value) => value,
        }
    }

    /// The value if it is a whole number.
    pub(super) fn as_whole(self) -> Option<i128> {
        match self {
            Self::Exact { numerator, denominator: 1 } => Some(numerator),
            _ => None,
        }
    }

    fn is_zero(self) -> bool {
        self.to_f64() == 0.0
    }

    fn combine(
        self,
        other: Self,
        exact: impl Fn((i128, i128), (i128, i128)) -> Fraction,
        float: impl Fn(f64, f64) -> f64,
    ) -> Result<Self, CalculateError> {
        if let (Self::Exact { numerator: a, denominator: b }, Self::Exact { numerator: c, denominator: d }) =
            (self, other)
            && let Some((numerator, denominator)) = exact((a, b), (c, d))
            && let Some(number) = Self::fraction(numerator, denominator)
        {
            return Ok(number);
        }
        Self::float(float(self.to_f64(), other.to_f64()))
    }

    pub(super) fn add(self, other: Self) -> Result<Self, CalculateError> {
        let exact = |(a, b): (i128, i128), (c, d): (i128, i128)| {
            Some((a.checked_mul(d)?.checked_add(c.checked_mul(b)?)?, b.checked_mul(d)?))
        };
        self.combine(other, exact, |a, b| a + b)
    }

    pub(super) fn subtract(self, other: Self) -> Result<Self, CalculateError> {
        self.add(other.negate()?)
    }

    pub(super) fn multiply(self, other: Self) -> Result<Self, CalculateError> {
        let exact = |(a, b): (i128, i128), (c, d): (i128, i128)| Some((a.checked_mul(c)?, b.checked_mul(d)?));
        self.combine(other, exact, |a, b| a * b)
    }

    pub(super) fn divide(self, other: Self) -> Result<Self, CalculateError> {
        if other.is_zero() {
            return Err(CalculateError::DivisionByZero);
        }
        let exact = |(a, b): (i128, i128), (c, d): (i128, i128)| Some((a.checked_mul(d)?, b.checked_mul(c)?));
        self.combine(other, exact, |a, b| a / b)
    }

    /// What is left after dividing; it has the sign of `other`.
    pub(super) fn remainder(self, other: Self) -> Result<Self, CalculateError> {
        if other.is_zero() {
            return Err(CalculateError::DivisionByZero);
        }
        let quotient = self.divide(other)?.round_towards(Rounding::Down)?;
        self.subtract(other.multiply(quotient)?)
    }

    pub(super) fn negate(self) -> Result<Self, CalculateError> {
        match self {
            Self::Exact { numerator, denominator } => match numerator.checked_neg() {
                Some(numerator) => Ok(Self::Exact { numerator, denominator }),
                None => Self::float(-self.to_f64()),
            },
            Self::Float(value) => Self::float(-value),
        }
    }

    pub(super) fn abs(self) -> Result<Self, CalculateError> {
        if self.to_f64() < 0.0 { self.negate() } else { Ok(self) }
    }

    pub(super) fn power(self, exponent: Self) -> Result<Self, CalculateError> {
        if self.is_zero() && exponent.to_f64() < 0.0 {
            return Err(CalculateError::DivisionByZero);
        }
        if let Self::Exact { numerator, denominator } = self
            && let Some(whole) = exponent.as_whole()
            && let Ok(times) = u32::try_from(whole.unsigned_abs())
            && let (Some(top), Some(bottom)) = (numerator.checked_pow(times), denominator.checked_pow(times))
        {
            let power = if whole < 0 { Self::fraction(bottom, top) } else { Self::fraction(top, bottom) };
            if let Some(power) = power {
                return Ok(power);
            }
        }
        if self.to_f64() < 0.0 && exponent.as_whole().is_none() {
            return Err(CalculateError::Undefined("a negative number has no real power that is not whole".to_owned()));
        }
        Self::float(self.to_f64().powf(exponent.to_f64()))
    }

    pub(super) fn factorial(self) -> Result<Self, CalculateError> {
        let whole = self.as_whole().filter(|whole| *whole >= 0);
        let whole =
            whole.ok_or_else(|| CalculateError::Undefined("a factorial needs a whole number, 0 or more".to_owned()))?;
        if whole > 170 {
            return Err(CalculateError::TooLarge);
        }
        let mut product = Self::whole(1);
        for factor in 2..=whole {
            product = product.multiply(Self::whole(factor))?;
        }
        Ok(product)
    }

    pub(super) fn round_towards(self, rounding: Rounding) -> Result<Self, CalculateError> {
        match self {
            Self::Exact { denominator: 1, .. } => Ok(self),
            Self::Exact { numerator, denominator } => {
                let floor = numerator.div_euclid(denominator);
                let rest = numerator.rem_euclid(denominator);
                let up = match rounding {
                    Rounding::Down => false,
                    Rounding::Up => true,
                    Rounding::ToZero => numerator < 0,
                    // Halves go away from zero, as people round.
                    Rounding::Nearest if numerator < 0 => rest > denominator - rest,
                    Rounding::Nearest => rest >= denominator - rest,
                };
                Ok(Self::whole(floor + i128::from(up)))
            }
            Self::Float(value) => Self::float(match rounding {
                Rounding::Down => value.floor(),
                Rounding::Up => value.ceil(),
                Rounding::ToZero => value.trunc(),
                Rounding::Nearest => value.round(),
            }),
        }
    }

    /// Rounds to so many decimals (fewer than none round to tens, hundreds, ...).
    pub(super) fn round_to(self, decimals: Self) -> Result<Self, CalculateError> {
        let decimals =
            decimals.as_whole().and_then(|whole| i32::try_from(whole).ok()).filter(|whole| whole.abs() <= 30);
        let decimals = decimals.ok_or_else(|| {
            CalculateError::Undefined("the number of decimals must be a whole number, at most 30".to_owned())
        })?;
        let scale = Self::whole(10).power(Self::whole(decimals.into()))?;
        self.multiply(scale)?.round_towards(Rounding::Nearest)?.divide(scale)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Rounding {
    Down,
    Up,
    ToZero,
    Nearest,
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exact { numerator, denominator } => match decimal(numerator, denominator) {
                Some(decimal) => formatter.write_str(&decimal),
                None => formatter.write_str(&significant(self.to_f64())),
            },
            Self::Float(value) => formatter.write_str(&significant(value)),
        }
    }
}

/// A fraction as a decimal, if it ends within 20 places.
fn decimal(numerator: i128, denominator: i128) -> Option<String> {
    const MOST_PLACES: usize = 20;
    let (whole, mut rest) = (numerator / denominator, (numerator % denominator).unsigned_abs());
    let denominator = denominator.unsigned_abs();
    let mut places = String::new();
    while rest != 0 {
        if places.len() == MOST_PLACES {
            return None;
        }
        rest = rest.checked_mul(10)?;
        places.push(char::from(b'0' + u8::try_from(rest / denominator).ok()?));
        rest %= denominator;
    }
    let sign = if numerator < 0 && whole == 0 { "-" } else { "" };
    Some(if places.is_empty() { format!("{whole}") } else { format!("{sign}{whole}.{places}") })
}

/// 15 significant digits, which is what is reliable in floating point.
fn significant(value: f64) -> String {
    let scientific = format!("{value:.14e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    if !(-7..=20).contains(&exponent) {
        return format!("{sign}{mantissa}e{exponent}");
    }
    let digits = mantissa.replace('.', "");
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    let point = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= point {
        return format!("{sign}{digits}{}", "0".repeat(point - digits.len()));
    }
    let (whole, fraction) = digits.split_at(point);
    format!("{sign}{whole}.{fraction}")
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
