//! The name by which applications find the writer: the product's own batches in a private zone, and what clients are answered.

use aws_sdk_route53 as sdk;
use aws_sdk_route53::error::ProvideErrorMetadata;
use aws_sdk_route53::types::{ChangeAction, ResourceRecord, ResourceRecordSet, RrType};
use jiff::Timestamp;
use sandbox::traffic::{NameServer, Resolver};
use sandbox::world::route53::Wanted;
use slipway::aws::route53::{Answer, Change, RecordSet, Routing, normal};
use slipway::database::cname;
use slipway::database::goal::Goal;
use slipway::fault::Fault;
use slipway::marker::Changed;

use super::Bench;
use super::names::ask;
use super::route53::{change, in_sync};
use crate::bad_input;

const NAME: &str = "db.bank.example";
const SOURCE: &str = "pg01.bank.example";
const TARGET: &str = "rds.bank.example";
const CNAME: u8 = 5;
const TXT: u8 = 16;

/// The bank's private zone: both databases by their names, and the name that applications use.
fn zone(bench: &Bench) -> String {
    bench.server.with_world(|world, _| {
        let zone = world.keep_zone("bank.example", true);
        let records =
            [(SOURCE, "A", 60, "127.0.0.2"), (TARGET, "A", 60, "127.0.0.3"), (NAME, "CNAME", 300, SOURCE)];
        for (name, kind, ttl, value) in records {
            let wanted = Wanted {
                name: name.into(),
                kind: kind.into(),
                ttl: Some(ttl),
                values: vec![value.into()],
                ..Wanted::default()
            };
            world.keep_record(&zone, wanted).expect("kept");
        }
        zone
    })
}

/// What Route 53 lists at the name and at its marker's, as the product has it.
async fn listed(client: &sdk::Client, zone: &str) -> Vec<RecordSet> {
    let all = client.list_resource_record_sets().hosted_zone_id(zone).send().await.expect("listed");
    let sets = all.resource_record_sets.into_iter().filter(|set| normal(&set.name).ends_with(NAME));
    sets.map(|set| RecordSet {
        name: normal(&set.name),
        kind: set.r#type.as_str().to_owned(),
        routing: Routing::Simple,
        answer: Answer::Values {
            ttl: u32::try_from(set.ttl.expect("a TTL")).expect("small"),
            values: set.resource_records.unwrap_or_default().into_iter().map(|record| record.value).collect(),
        },
        health_check: None,
    })
    .collect()
}

fn written(batch: &[Change]) -> Vec<(ChangeAction, ResourceRecordSet)> {
    let of = |change: &Change| {
        let (action, set) = match change {
            Change::Create(set) => (ChangeAction::Create, set),
            Change::Delete(set) => (ChangeAction::Delete, set),
            Change::Upsert(set) => panic!("{set:?} would overwrite what somebody set in between"),
        };
        let Answer::Values { ttl, values } = &set.answer else { panic!("{set:?}") };
        let records =
            values.iter().map(|value| ResourceRecord::builder().value(value).build().expect("complete"));
        let set = ResourceRecordSet::builder()
            .name(&set.name)
            .r#type(RrType::from(set.kind.as_str()))
            .ttl(i64::from(*ttl))
            .set_resource_records(Some(records.collect()));
        (action, set.build().expect("complete"))
    };
    batch.iter().map(of).collect()
}

fn goal(zone: &str) -> Goal {
    let mut object = {
        let kind = bad_input::kind::Kind::Database;
        kind.good(&kind.example())[2].clone()
    };
    object["metadata"]["uid"] = "u-1".into();
    object["spec"]["cutover"]["connection"]["record"]["zoneID"] = zone.into();
    Goal::parse(&serde_json::from_value(object).expect("an object")).expect("a goal")
}

#[tokio::test]
async fn clients_follow_the_name_to_the_target_and_no_late_batch_leads_them_back() {
    let bench = Bench::start().await;
    let (zone, client) = (zone(&bench), sdk::Client::new(&bench.config));
    let names = NameServer::start(bench.server.handle(), 7).await.expect("a free port");
    let address = async || Resolver::new(names.address(), NAME).address().await.expect("an address").0;
    // The chain's first record is the CNAME.
    let ttl = async || ask(names.address(), NAME, CNAME).await.1[0].0;
    let goal = goal(&zone);
    let record = cname::of(&goal).expect("a record");
    let lead = async |from: &[&str], to: &str, epoch: i64| -> Result<Vec<Change>, Fault> {
        let changed = Changed { epoch, at: Timestamp::from_second(1_795_435_200).expect("a time") };
        cname::lead(&goal, record, &listed(&client, &zone).await, from, to, changed)
    };
    let send = async |batch: &[Change]| change(&client, &zone, written(batch)).await;

    assert_eq!((address().await.octets(), ttl().await), ([127, 0, 0, 2], 300));
    let lowered = lead(&[SOURCE], SOURCE, 0).await.expect("a batch");
    let made = send(&lowered).await.expect("changed");
    in_sync(&client, &made).await;
    assert_eq!((address().await.octets(), ttl().await), ([127, 0, 0, 2], 5));
    assert_eq!(ask(names.address(), &record.marker(), TXT).await.1.len(), 1, "its marker");

    let overtaken = lead(&[SOURCE, TARGET], TARGET, 7).await.expect("a batch");
    let made = send(&lead(&[SOURCE, TARGET], TARGET, 8).await.expect("a batch")).await.expect("changed");
    in_sync(&client, &made).await;
    assert_eq!((address().await.octets(), ttl().await), ([127, 0, 0, 3], 5));
    for late in [&lowered, &overtaken] {
        let refused = send(late).await.expect_err("overtaken");
        assert_eq!(refused.code().unwrap_or("InvalidChangeBatch"), "InvalidChangeBatch", "{refused:?}");
    }
    assert_eq!(address().await.octets(), [127, 0, 0, 3]);
    let back = lead(&[SOURCE], SOURCE, 9).await.expect_err("it leads to neither");
    assert!(back.message().contains("leads to rds.bank.example"), "{back}");

    let given_back = cname::give_back_batch(&goal, record, &listed(&client, &zone).await);
    let made = send(&given_back).await.expect("changed");
    in_sync(&client, &made).await;
    assert_eq!((address().await.octets(), ttl().await), ([127, 0, 0, 3], 300));
    assert_eq!(ask(names.address(), &record.marker(), TXT).await.0, 3, "no such name");
}
