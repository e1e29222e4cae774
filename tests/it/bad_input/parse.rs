//! Without a server: whatever can be read at all is judged, and never panics. As if the CRD had no rules.

use sandbox::dice::Dice;
use serde_json::{Value, json};

use super::generate;
use super::kind::Kind;

const CASES: usize = 10_000;

#[test]
fn no_spec_makes_the_parser_panic_and_each_refusal_names_the_field_and_the_remedy() {
    for kind in Kind::BOTH {
        let example = kind.example();
        for good in kind.good(&example) {
            assert_eq!(kind.judge(&good), Some(Ok(())), "{kind:?}");
        }
        let bent = generate::all(kind, &example, CASES, 1);
        let (mut unreadable, mut refused, mut taken, mut wrong) = (0, 0, 0, Vec::new());
        for bent in &bent {
            match kind.judge(&bent.object) {
                None => unreadable += 1,
                Some(Ok(())) => taken += 1,
                Some(Err(message)) => {
                    refused += 1;
                    let named = super::names_one(&message, &bent.fields);
                    let remedy = message.ends_with(". Correct the field and apply the resource again");
                    if !named || !remedy || message.len() >= 1_000 {
                        wrong.push(format!("{:?} {}: {message:.1000}", bent.fields, bent.how));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} are told badly of: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
        println!(
            "{kind:?}: {} resources: {unreadable} can't be read, {refused} refused, {taken} taken",
            bent.len()
        );
        assert!(bent.len() >= CASES && refused > 1_000 && taken > 100);
    }
}

/// Bytes and words at random places, whatever comes of it.
#[test]
fn nonsense_anywhere_in_a_spec_is_read_or_refused() {
    for kind in Kind::BOTH {
        let mut dice = Dice::new(2);
        let good = kind.good(&kind.example());
        for _ in 0..CASES {
            let mut object = dice.one_of(&good).clone();
            for _ in 0..=dice.below(4) {
                scramble(&mut object["spec"], &mut dice);
            }
            // That it comes back is what is asked.
            let _ = kind.judge(&object);
        }
    }
}

/// Goes down to some place by chance, and puts nonsense there.
fn scramble(value: &mut Value, dice: &mut Dice) {
    let deeper = dice.below(8) > 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let name = dice.index(fields.len());
            if let Some(inner) = fields.values_mut().nth(name) {
                scramble(inner, dice);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let index = dice.index(items.len());
            scramble(&mut items[index], dice);
        }
        place => {
            let text: String = (0..dice.below(40))
                .filter_map(|_| char::from_u32(u32::try_from(dice.below(0x3000)).unwrap_or(0)))
                .collect();
            let number = dice.below(u64::MAX).cast_signed() >> dice.below(63);
            *place = match (dice.below(3), &place) {
                (0, Value::String(old)) => json!(format!("{old}{text}")),
                (1, Value::String(_)) | (0, _) => json!(text),
                (1, _) => json!(number),
                _ => dice.one_of(&[json!(null), json!([]), json!({}), json!(true), json!(-1)]).clone(),
            };
        }
    }
}
