//! Passwords as people choose and type them. Long enough, not among those that everybody tries first, and no rules about what
//! they are made of (NIST SP 800-63B §3.1.1.2).

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::email::Email;
use super::fault::Fault;

/// Characters of a password, at least.
const SHORTEST: usize = 10;

/// Characters of a password, at most.
const LONGEST: usize = 256;

/// The commonest passwords of ten characters and more, and what anybody tries here: the heads of published lists of leaked
/// passwords, in lower case. Shorter ones are refused for their length.
const COMMONEST: &[&str] = &[
    "0123456789",
    "0987654321",
    "1111111111",
    "1234567890",
    "12345678900",
    "12345678910",
    "123456789a",
    "1234567891",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "a123456789",
    "aa12345678",
    "aaaaaaaaaa",
    "abcd123456",
    "abcdefghij",
    "admin12345",
    "admin123456",
    "administrator",
    "afterword1",
    "afterword123",
    "afterwordadmin",
    "asdfghjkl1",
    "asdfghjkl;",
    "baseball123",
    "basketball",
    "changeme123",
    "chocolate1",
    "comments123",
    "correcthorsebatterystaple",
    "football123",
    "iloveyou123",
    "iloveyou12",
    "letmein123",
    "letmein1234",
    "liverpool1",
    "moderator1",
    "moderator123",
    "p@ssw0rd123",
    "p@ssword123",
    "passw0rd123",
    "password01",
    "password10",
    "password11",
    "password12",
    "password123",
    "password1234",
    "password12345",
    "password1!",
    "passwordpassword",
    "princess12",
    "princess123",
    "q1w2e3r4t5",
    "q1w2e3r4t5y6",
    "qazwsxedc1",
    "qazwsxedcrfv",
    "qwer123456",
    "qwerty1234",
    "qwerty12345",
    "qwerty123456",
    "qwertyuiop",
    "qwertyuiop123",
    "secret1234",
    "secretsecret",
    "sunshine123",
    "superman123",
    "trustno1234",
    "welcome123",
    "welcome1234",
    "zaq12wsxcde3",
    "zxcvbnm123",
    "zxcvbnm,./",
];

/// A password in the one spelling in which it is hashed: NFKC, so that two keyboards type the same.
pub struct Password(Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// A new password of whoever has this address. The fault is one of `password`.
    pub fn choose(typed: &str, email: &Email) -> Result<Self, Fault> {
        let password = Self::typed(typed);
        match password.0.chars().count() {
            0 => return Err(Fault::required("password")),
            1..SHORTEST => {
                let text = format!("It is shorter than {SHORTEST} characters. A few words make a good one.");
                return Err(Fault::new("password", "too_short", text));
            }
            SHORTEST..=LONGEST => {}
            _ => return Err(Fault::too_long("password", LONGEST, "characters")),
        }
        let lower = password.0.to_lowercase();
        if lower == email.folded() || COMMONEST.contains(&lower.as_str()) {
            let text = "It is among the first that anybody would try. Please choose another one.";
            return Err(Fault::new("password", "too_common", text));
        }
        Ok(password)
    }

    /// What somebody types to sign in, whatever it is. What is far too long for any password is cut: it is wrong, and hashing
    /// it must not take longer than hashing any other.
    pub fn typed(typed: &str) -> Self {
        Self(Zeroizing::new(typed.nfkc().take(LONGEST + 1).collect()))
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_password() {
        let email = Email::parse("Ann@blog.example", "email").unwrap();
        let code = |text: &str| Password::choose(text, &email).map(|_| ()).map_err(|fault| fault.code);
        for good in ["0123456788", "          ", "пароль из слов", "a sentence of its own", &"x".repeat(256)]
        {
            assert_eq!(code(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "required"),
            ("123456789", "too_short"),
            ("Password123", "too_common"),
            ("ＱＷＥＲＴＹＵＩＯＰ", "too_common"),
            ("ann@BLOG.example", "too_common"),
            (&"x".repeat(257), "too_long"),
        ] {
            assert_eq!(code(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn two_keyboards_type_the_same() {
        assert_eq!(Password::typed("cafe\u{301}").as_bytes(), Password::typed("café").as_bytes());
        assert_eq!(format!("{:?}", Password::typed("secret")), "Password(…)");
    }

    #[test]
    fn the_list_is_in_the_spelling_that_is_looked_for() {
        for word in COMMONEST {
            assert!(word.len() >= SHORTEST && word.to_lowercase() == *word, "{word}");
        }
    }
}
