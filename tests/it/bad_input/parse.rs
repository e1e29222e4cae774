//! Without a server: whatever can be read at all is judged, and never panics. As if the CRD had no rules.

use sandbox::dice::Dice;
use serde_json::{Value, json};
use slipway::api::database::DatabaseMigration;
use slipway::database::goal::Goal;

use super::generate;

const CASES: usize = 10_000;

/// Judges a resource. `None` if it can't even be read.
fn judge(object: &Value) -> Option<Result<Goal, String>> {
    let object: DatabaseMigration = serde_json::from_value(object.clone()).ok()?;
    Some(Goal::parse(&object).map_err(|blocked| blocked.message))
}

#[test]
fn no_spec_makes_the_parser_panic_and_each_refusal_names_the_field_and_the_remedy() {
    let example = super::example();
    for good in generate::good(&example) {
        let judged = judge(&good).expect("it can be read");
        assert!(judged.is_ok(), "{judged:?}");
    }
    let bent = generate::all(&example, CASES, 1);
    let (mut unreadable, mut refused, mut taken) = (0, 0, 0);
    for bent in &bent {
        match judge(&bent.object) {
            None => unreadable += 1,
            Some(Ok(_)) => taken += 1,
            Some(Err(message)) => {
                refused += 1;
                assert!(
                    super::names_one(&message, &bent.fields),
                    "{:?} {}: {message}",
                    bent.fields,
                    bent.how
                );
                assert!(message.ends_with(". Correct the field and apply the resource again"), "{message}");
                assert!(message.len() < 1_000, "{message}");
            }
        }
    }
    println!("{} resources: {unreadable} can't be read, {refused} refused, {taken} taken", bent.len());
    assert!(bent.len() >= CASES && refused > 1_000 && taken > 100);
}

/// Bytes and words at random places, whatever comes of it.
#[test]
fn nonsense_anywhere_in_a_spec_is_read_or_refused() {
    let mut dice = Dice::new(2);
    let good = generate::good(&super::example());
    for _ in 0..CASES {
        let mut object = dice.one_of(&good).clone();
        for _ in 0..=dice.below(4) {
            scramble(&mut object["spec"], &mut dice);
        }
        // That it comes back is what is asked.
        let _ = judge(&object);
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
