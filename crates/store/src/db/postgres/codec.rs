//! Our four kinds of value in PostgreSQL's binary format.

use super::super::error::DbError;
use super::super::value::Value;
use bytes::{BufMut, BytesMut};
use std::error::Error;
use tokio_postgres::Statement;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

type Failure = Box<dyn Error + Sync + Send>;

/// A parameter, written as the type that PostgreSQL inferred for its place.
#[derive(Debug)]
pub(super) struct Bound<'a>(pub(super) &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Integer(number) => match *ty {
                Type::INT8 => out.put_i64(*number),
                Type::INT4 => out.put_i32(i32::try_from(*number)?),
                Type::INT2 => out.put_i16(i16::try_from(*number)?),
                Type::BOOL if (0..=1).contains(number) => out.put_u8(u8::from(*number == 1)),
                _ => return Err(format!("an integer was given for a parameter of type {ty}").into()),
            },
            Value::Text(text) => match *ty {
                Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
                    out.put_slice(text.as_bytes());
                }
                _ => return Err(format!("text was given for a parameter of type {ty}").into()),
            },
            Value::Blob(bytes) if *ty == Type::BYTEA => out.put_slice(bytes),
            Value::Blob(_) => return Err(format!("bytes were given for a parameter of type {ty}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A column of a result.
pub(super) struct Column(pub(super) Value);

impl<'a> FromSql<'a> for Column {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        let value = match *ty {
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::INT4 => Value::Integer(i64::from(i32::from_sql(ty, raw)?)),
            Type::INT2 => Value::Integer(i64::from(i16::from_sql(ty, raw)?)),
            Type::BOOL => Value::from(bool::from_sql(ty, raw)?),
            Type::NUMERIC => Value::Integer(whole_numeric(raw).ok_or("not a whole number of 64 bits")?),
            Type::BYTEA => Value::Blob(raw.to_vec()),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
                Value::Text(String::from_utf8(raw.to_vec())?)
            }
            _ => return Err(format!("type {ty} is not one of ours").into()),
        };
        Ok(Self(value))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The parameters as the driver takes them.
pub(super) fn references<'a>(bound: &'a [Bound<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    bound.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Refuses too few and too many parameters.
pub(super) fn check_count(statement: &Statement, params: &[Value], label: &str) -> Result<(), DbError> {
    let wanted = statement.params().len();
    if wanted == params.len() {
        return Ok(());
    }
    let reason = format!("it takes {wanted} parameters, {} were given", params.len());
    Err(DbError::driver(label, reason))
}

/// A `NUMERIC` without fraction: what `SUM` of a `BIGINT` column is. The format: count of digits, weight of
/// the first, sign, scale, then digits to base 10,000.
fn whole_numeric(raw: &[u8]) -> Option<i64> {
    let mut words = raw
        .chunks_exact(2)
        .filter_map(|pair| <[u8; 2]>::try_from(pair).ok())
        .map(u16::from_be_bytes);
    let count = words.next()?;
    let weight = words.next()?.cast_signed();
    let sign = words.next()?;
    let _scale = words.next()?;
    let mut whole: i128 = 0;
    let mut position = weight;
    for _ in 0..count {
        let digit = i128::from(words.next()?);
        if position < 0 && digit != 0 {
            return None;
        }
        if position >= 0 {
            whole = whole.checked_mul(10_000)?.checked_add(digit)?;
        }
        position = position.checked_sub(1)?;
    }
    while position >= 0 {
        whole = whole.checked_mul(10_000)?;
        position = position.checked_sub(1)?;
    }
    match sign {
        0x0000 => i64::try_from(whole).ok(),
        0x4000 => i64::try_from(-whole).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::whole_numeric;

    fn numeric(words: &[u16]) -> Option<i64> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        whole_numeric(&bytes)
    }

    #[test]
    fn whole_numerics_are_integers_and_fractions_are_not() {
        assert_eq!(numeric(&[0, 0, 0, 0]), Some(0));
        assert_eq!(numeric(&[2, 1, 0, 0, 1, 2345]), Some(12_345));
        assert_eq!(numeric(&[1, 1, 0x4000, 0, 7]), Some(-70_000));
        assert_eq!(numeric(&[1, 0xffff, 0, 4, 5000]), None);
        assert_eq!(numeric(&[0, 0, 0xc000, 0]), None);
        assert_eq!(numeric(&[1, 9, 0, 0, 1]), None);
    }
}
