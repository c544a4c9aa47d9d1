use codriver_tools::calculate::{CalculateError, evaluate};

#[track_caller]
fn is(expression: &str, expected: &str) {
    assert_eq!(evaluate(expression).as_deref(), Ok(expected), "{expression}");
}

#[track_caller]
fn fails(expression: &str, part: &str) {
    let message = evaluate(expression).unwrap_err().to_string();
    assert!(message.contains(part), "{expression}: {message}");
}

#[test]
fn arithmetic_and_precedence() {
    is("1 + 2 * 3", "7");
    is("(1 + 2) * 3", "9");
    is("10 - 4 - 3", "3");
    is("2 ^ 3 ^ 2", "512");
    is("2 ** 10", "1024");
    is("-2 ^ 2", "-4");
    is("(-2) ^ 2", "4");
    is("2 ^ -2", "0.25");
    is("--3", "3");
    is("2 * -3", "-6");
    is("7 / 2", "3.5");
    is("6 × 7 ÷ 2 − 1", "20");
    is("5! - 20", "100");
    is("3²+4²", "25");
}

#[test]
fn decimals_without_noise() {
    is("0.1 + 0.2", "0.3");
    is("1.1 * 1.1", "1.21");
    is("0.1 * 3", "0.3");
    is("1/3 + 1/3 + 1/3", "1");
    is("1 / 3", "0.333333333333333");
    is("2/3", "0.666666666666667");
    is("-1/8", "-0.125");
    is("1/1024", "0.0009765625");
    is("100 * 1.15", "115");
    is("4.35 * 100", "435");
    is("1e3 + 2.5e-3", "1000.0025");
    is(".5 + 5.", "5.5");
    is("sqrt(2) ^ 2", "2");
    is("1e-10 / 3", "3.33333333333333e-11");
}

#[test]
fn large_whole_numbers_keep_their_digits() {
    is("2 ^ 100", "1267650600228229401496703205376");
    is("123456789012345678 + 1", "123456789012345679");
    is("99999999999 * 99999999999", "9999999999800000000001");
    is("25!", "15511210043330985984000000");
    is("2 ^ 200", "1.60693804425899e60");
    is("0 - 170141183460469231731687303715884105727 - 1", "-170141183460469231731687303715884105728");
}

#[test]
fn percentages() {
    is("15% of 240", "36");
    is("15 percent of 240", "36");
    is("12.5% of 1,000", "125");
    is("200 + 10%", "220");
    is("200 - 10%", "180");
    is("10% + 5%", "0.15");
    is("10% - 3", "-2.9");
    is("50%", "0.5");
    is("(1250 - 1000) / 1000 * 100", "25");
}

#[test]
fn remainders() {
    is("17 % 5", "2");
    is("17%5", "2");
    is("17 mod 5", "2");
    is("10 % -3", "-2");
    is("-7 % 3", "2");
    is("7.5 % 2", "1.5");
    is("mod(17, 5)", "2");
    is("10 % (1+2)", "1");
}

#[test]
fn numbers_as_people_write_them() {
    is("1,234,567 + 1", "1234568");
    is("1_000 * 2", "2000");
    is("1,234.50 * 2", "2469");
    fails("1,23 + 1", "grouped by three");
    fails("12,34,567", "grouped by three");
    fails("1.2.3", "not a number");
}

#[test]
fn functions_and_constants() {
    is("sqrt(16)", "4");
    is("sqrt(2.25)", "1.5");
    is("abs(-3.5)", "3.5");
    is("round(2.5)", "3");
    is("round(-2.5)", "-3");
    is("round(2.345, 2)", "2.35");
    is("round(1234, -2)", "1200");
    is("floor(-1.5)", "-2");
    is("ceil(-1.5)", "-1");
    is("trunc(-1.5)", "-1");
    is("min(3, 1, 2)", "1");
    is("max(1,234)", "234");
    is("max((1,234), 5)", "1234");
    is("mean(1, 2, 4)", "2.33333333333333");
    is("sum(0.1, 0.2)", "0.3");
    is("ln(e)", "1");
    is("log10(1000)", "3");
    is("log(8, 2)", "3");
    is("exp(0)", "1");
    is("sin(pi)", "0");
    is("cos(pi)", "-1");
    is("sin(pi/6)", "0.5");
    is("tan(pi/4)", "1");
    is("degrees(pi)", "180");
    is("hypot(3, 4)", "5");
    is("SQRT(9)", "3");
    is("pi", "3.14159265358979");
    is("2 * √(9)", "6");
}

#[test]
fn mistakes_are_explained() {
    fails("1 / 0", "division by zero");
    fails("1 % 0", "division by zero");
    fails("0 ^ -1", "division by zero");
    fails("1 / (0.1 + 0.2 - 0.3)", "division by zero");
    fails("sqrt(-1)", "no real square root");
    fails("ln(0)", "above 0");
    fails("asin(2)", "from -1 to 1");
    fails("(-8) ^ 0.5", "not whole");
    fails("tan(pi/2)", "not defined");
    fails("", "nothing to calculate");
    fails("1 +", "a number");
    fails("(1 + 2", "closing parenthesis");
    fails("1 2", "position 3");
    fails("2 + x", "\"x\" is not known");
    fails("sqr(4)", "did you mean sqrt?");
    fails("round()", "one argument or two");
    fails("min()", "one argument or more");
    fails("171!", "too large");
    fails("(-1)!", "0 or more");
    fails("10 ^ 400", "too large");
    fails("__import__('os')", "expected a number at position 1");
    assert_eq!(evaluate(&"(".repeat(3000)), Err(CalculateError::TooDeep));
    assert_eq!(evaluate(&"-".repeat(3000)), Err(CalculateError::TooDeep));
    assert_eq!(evaluate(&"2^".repeat(2000)), Err(CalculateError::TooDeep));
    assert_eq!(evaluate(&"1+".repeat(3000)), Err(CalculateError::TooLong(6000)));
}

/// Every expression, however odd, ends in a number or an error.
#[test]
fn no_input_panics() {
    let pieces = [
        "1", "0", "-", "+", "*", "/", "%", "^", "!", "(", ")", ",", ".", "e", "pi", "sqrt", "of", " ", "9e99", "min",
        "²", "_", "é", "1e-300",
    ];
    let mut seed = 88_172_645_463_325_252_u64;
    let mut numbers = 0;
    for _ in 0..200_000 {
        let mut expression = String::new();
        for _ in 0..=(seed % 9) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            expression.push_str(pieces[(seed % pieces.len() as u64) as usize]);
        }
        numbers += usize::from(evaluate(&expression).is_ok());
    }
    assert!(numbers > 1000, "the pieces hardly ever make an expression: {numbers}");
}
