//! Which RSA public keys we accept (RFC 7518 §3.3, §6.3.1; FIPS 186-5 §5.4), and how ours are read.
//!
//! No arithmetic on secrets happens here: moduli and exponents are public.

/// Why an RSA public key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RsaKeyError {
    /// `n` or `e` is empty or has leading zero octets (RFC 7518 §2, `Base64urlUInt`).
    #[error("rsa modulus or exponent is not minimally encoded")]
    NotMinimal,
    /// The modulus is shorter than 2048 or longer than 8192 bits.
    #[error("rsa modulus is not between 2048 and 8192 bits")]
    ModulusSize,
    /// The modulus is even.
    #[error("rsa modulus is even")]
    ModulusEven,
    /// The exponent is even, below 65537, or does not fit 32 bits.
    #[error("rsa exponent is even, below 65537, or longer than 32 bits")]
    Exponent,
    /// The modulus has the fingerprint of keys that can be factored (CVE-2017-15361, "ROCA").
    #[error("rsa modulus is of the weak form known as roca")]
    Roca,
}

/// Checks a modulus and exponent, big-endian.
///
/// # Errors
/// The first rule of [`RsaKeyError`] that is broken.
pub(super) fn check_public_key(n: &[u8], e: &[u8]) -> Result<(), RsaKeyError> {
    let (Some((first, _)), Some(last)) = (n.split_first(), n.last()) else {
        return Err(RsaKeyError::NotMinimal);
    };
    if *first == 0 || e.first().is_none_or(|byte| *byte == 0) {
        return Err(RsaKeyError::NotMinimal);
    }
    let bits = n
        .len()
        .saturating_mul(8)
        .saturating_sub(first.leading_zeros() as usize);
    if !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return Err(RsaKeyError::ModulusSize);
    }
    if last.is_multiple_of(2) {
        return Err(RsaKeyError::ModulusEven);
    }
    check_exponent(e)?;

    if ROCA_PRIMES.iter().all(|prime| has_roca_residue(n, *prime)) {
        return Err(RsaKeyError::Roca);
    }
    Ok(())
}

fn check_exponent(e: &[u8]) -> Result<(), RsaKeyError> {
    if e.len() > 4 {
        return Err(RsaKeyError::Exponent);
    }
    let value = e.iter().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
    if value < 65_537 || value.is_multiple_of(2) {
        return Err(RsaKeyError::Exponent);
    }
    Ok(())
}

/// Whether `n` modulo `prime` is a power of 65537 modulo `prime`: true for every small prime only
/// for moduli of the weak form (Nemec et al. 2017, §3.1).
fn has_roca_residue(n: &[u8], prime: u32) -> bool {
    let residue = n
        .iter()
        .fold(0u32, |rest, byte| ((rest << 8) | u32::from(*byte)) % prime);
    let generator = 65_537 % prime;
    let mut power = 1;
    for _ in 0..prime {
        if power == residue {
            return true;
        }
        power = power * generator % prime;
    }
    false
}

/// Reads `RSAPublicKey ::= SEQUENCE { n INTEGER, e INTEGER }` (RFC 8017 §A.1.1) in DER.
pub(super) fn read_public_key_der(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, rest) = read_der(der, 0x30)?;
    let (n, tail) = read_der(sequence, 0x02)?;
    let (e, end) = read_der(tail, 0x02)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    Some((without_sign(n), without_sign(e)))
}

/// One DER element with this tag: its content and what follows it.
fn read_der(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, input) = input.split_first()?;
    let (short, input) = input.split_first()?;
    if *found != tag {
        return None;
    }
    if *short < 0x80 {
        return input.split_at_checked(usize::from(*short));
    }
    let (length, input) = input.split_at_checked(usize::from(*short & 0x7f))?;
    if length.len() > 2 {
        return None;
    }
    let length = length
        .iter()
        .fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
    input.split_at_checked(length)
}

/// A positive DER integer without the zero octet that keeps its sign.
fn without_sign(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

const MIN_BITS: usize = 2048;

const MAX_BITS: usize = 8192;

/// The primes that the fingerprint looks at.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

#[cfg(test)]
mod tests {
    use super::*;

    const F4: &[u8] = &[1, 0, 1];

    fn modulus(bytes: usize) -> Vec<u8> {
        let mut n = vec![0xa5; bytes];
        n[bytes - 1] |= 1;
        n
    }

    #[test]
    fn sizes_from_2048_to_8192_bits_are_accepted() {
        assert_eq!(check_public_key(&modulus(256), F4), Ok(()));
        assert_eq!(check_public_key(&modulus(1024), F4), Ok(()));
        assert_eq!(check_public_key(&modulus(255), F4), Err(RsaKeyError::ModulusSize));
        assert_eq!(
            check_public_key(&modulus(1025), F4),
            Err(RsaKeyError::ModulusSize)
        );
        let mut short = modulus(256);
        short[0] = 0x7f;
        assert_eq!(check_public_key(&short, F4), Err(RsaKeyError::ModulusSize));
    }

    #[test]
    fn leading_zeros_are_refused() {
        let mut padded = vec![0];
        padded.extend(modulus(256));
        assert_eq!(check_public_key(&padded, F4), Err(RsaKeyError::NotMinimal));
        assert_eq!(
            check_public_key(&modulus(256), &[0, 1, 0, 1]),
            Err(RsaKeyError::NotMinimal)
        );
        assert_eq!(check_public_key(&[], F4), Err(RsaKeyError::NotMinimal));
        assert_eq!(check_public_key(&modulus(256), &[]), Err(RsaKeyError::NotMinimal));
    }

    #[test]
    fn small_even_and_huge_exponents_are_refused() {
        for e in [&[1][..], &[3], &[1, 0, 0], &[1, 0, 2], &[1, 0, 0, 0, 1]] {
            assert_eq!(
                check_public_key(&modulus(256), e),
                Err(RsaKeyError::Exponent),
                "{e:?}"
            );
        }
        assert_eq!(check_public_key(&modulus(256), &[0xff, 0xff, 0xff, 0xff]), Ok(()));
    }

    #[test]
    fn even_modulus_is_refused() {
        let mut even = modulus(256);
        even[255] = 0xa4;
        assert_eq!(check_public_key(&even, F4), Err(RsaKeyError::ModulusEven));
    }

    #[test]
    fn der_with_trailing_bytes_is_not_read() {
        let der = [0x30, 0x07, 0x02, 0x02, 0x00, 0x81, 0x02, 0x01, 0x03];
        assert_eq!(read_public_key_der(&der), Some((&[0x81][..], &[0x03][..])));
        assert_eq!(read_public_key_der(&[&der[..], &[0]].concat()), None);
        assert_eq!(read_public_key_der(&der[..8]), None);
    }
}
