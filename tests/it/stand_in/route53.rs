//! Route 53: the zone, its records in order and in pages, batches, propagation, health checks and their refusals.

use std::time::Duration;

use aws_sdk_route53::Client;
use aws_sdk_route53::error::ProvideErrorMetadata;
use aws_sdk_route53::operation::change_resource_record_sets::{
    ChangeResourceRecordSetsError, ChangeResourceRecordSetsOutput,
};
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ChangeStatus, HealthCheckConfig, HealthCheckType,
    ResourceRecord, ResourceRecordSet, ResourceRecordSetRegion, RrType,
};
use sandbox::serve::fault::{Client as Faults, Command, Order};
use sandbox::world::Meddling;
use sandbox::world::route53::Wanted;

use super::{Bench, eventually};

pub(super) const NAME: &str = "api.bank.example";

/// A zone with the bank's simple record.
pub(super) fn zone(bench: &Bench) -> String {
    bench.server.with_world(|world, _| {
        let zone = world.keep_zone("bank.example", false);
        let wanted = Wanted {
            name: NAME.into(),
            kind: "A".into(),
            ttl: Some(60),
            values: vec!["127.0.0.2".into()],
            ..Wanted::default()
        };
        world.keep_record(&zone, wanted).expect("kept");
        zone
    })
}

pub(super) fn simple(kind: RrType, ttl: i64, value: &str) -> ResourceRecordSet {
    let record = ResourceRecord::builder().value(value).build().expect("complete");
    let set = ResourceRecordSet::builder().name(NAME).r#type(kind).ttl(ttl).resource_records(record);
    set.build().expect("complete")
}

pub(super) fn weighted(set: &str, weight: i64, value: &str) -> ResourceRecordSet {
    let mut wanted = simple(RrType::A, 30, value);
    wanted.set_identifier = Some(set.to_owned());
    wanted.weight = Some(weight);
    wanted
}

pub(super) fn alias(set: &str, weight: i64, zone: &str, name: &str) -> ResourceRecordSet {
    let target = AliasTarget::builder().hosted_zone_id(zone).dns_name(name).evaluate_target_health(false);
    let set = ResourceRecordSet::builder().name(NAME).r#type(RrType::A).set_identifier(set).weight(weight);
    set.alias_target(target.build().expect("complete")).build().expect("complete")
}

pub(super) async fn change(
    client: &Client,
    zone: &str,
    changes: Vec<(ChangeAction, ResourceRecordSet)>,
) -> Result<ChangeResourceRecordSetsOutput, ChangeResourceRecordSetsError> {
    let change = |(action, set)| Change::builder().action(action).resource_record_set(set).build();
    let changes = changes.into_iter().map(|it| change(it).expect("complete")).collect();
    let batch = ChangeBatch::builder().comment("a & b").set_changes(Some(changes)).build().expect("complete");
    let sent = client.change_resource_record_sets().hosted_zone_id(zone).change_batch(batch).send().await;
    sent.map_err(aws_sdk_route53::error::SdkError::into_service_error)
}

/// Waits until a change is INSYNC, and asks no oftener than the account's budget allows.
pub(super) async fn in_sync(client: &Client, changed: &ChangeResourceRecordSetsOutput) {
    let id = changed.change_info().expect("shown").id();
    eventually("the change is INSYNC", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let seen = client.get_change().id(id).send().await.expect("known");
        seen.change_info().expect("shown").status() == &ChangeStatus::Insync
    })
    .await;
}

async fn say(bench: &Bench, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    let command = Command::parse(&words).expect("words");
    Faults::new(&bench.server.url()).run(command).await.expect("obeyed");
}

#[tokio::test]
async fn a_simple_record_gives_way_to_weighted_ones_and_is_restored() {
    let bench = Bench::start().await;
    let zone = zone(&bench);
    let client = Client::new(&bench.config);
    let seen = client.get_hosted_zone().id(&zone).send().await.expect("there");
    let shown = seen.hosted_zone().expect("shown");
    assert_eq!((shown.id(), shown.name()), (format!("/hostedzone/{zone}").as_str(), "bank.example."));
    assert!(!shown.config().expect("shown").private_zone());

    let marker = simple(RrType::Txt, 30, "\"heritage=slipway,uid=1\" \"A 60 <127.0.0.2>\"");
    let mut forth = vec![
        (ChangeAction::Delete, simple(RrType::A, 60, "127.0.0.2")),
        (ChangeAction::Create, weighted("slipway-source-1", 255, "127.0.0.2")),
        (ChangeAction::Create, alias("slipway-target", 0, "Z35SXDOTRQ7X7K", "dualstack.alb.example")),
        (ChangeAction::Create, marker),
    ];
    let made = change(&client, &format!("/hostedzone/{zone}"), forth.clone()).await.expect("changed");
    let info = made.change_info().expect("shown");
    assert_eq!((info.status(), info.comment()), (&ChangeStatus::Pending, Some("a & b")));
    assert!(info.id().starts_with("/change/C"), "{info:?}");
    in_sync(&client, &made).await;

    let listed =
        client.list_resource_record_sets().hosted_zone_id(&zone).start_record_name(NAME).send().await;
    let listed = listed.expect("listed");
    assert!(!listed.is_truncated());
    let sets = listed.resource_record_sets();
    assert_eq!(sets.len(), 3);
    assert_eq!(sets[0].name(), "api.bank.example.");
    assert_eq!(
        (sets[0].set_identifier(), sets[0].weight(), sets[0].ttl()),
        (Some("slipway-source-1"), Some(255), Some(30))
    );
    assert_eq!((sets[1].ttl(), sets[1].weight()), (None, Some(0)), "an alias has no TTL of its own");
    assert_eq!(sets[1].alias_target().expect("an alias").dns_name(), "dualstack.alb.example.");
    assert_eq!(sets[2].resource_records()[0].value(), "\"heritage=slipway,uid=1\" \"A 60 <127.0.0.2>\"");

    // What was listed is what deletes.
    let mut back: Vec<_> = sets.iter().map(|set| (ChangeAction::Delete, set.clone())).collect();
    let (_, before) = forth.remove(0);
    back.push((ChangeAction::Create, before.clone()));
    change(&client, &zone, back).await.expect("restored");
    let listed =
        client.list_resource_record_sets().hosted_zone_id(&zone).start_record_name(NAME).send().await;
    let restored = listed.expect("listed").resource_record_sets()[0].clone();
    assert_eq!(restored.resource_records(), before.resource_records());
}

#[tokio::test]
async fn listings_have_pages_in_order() {
    let bench = Bench::start().await;
    let zone = zone(&bench);
    let client = Client::new(&bench.config);
    let (mut name, mut kind, mut identifier) = (None, None, None);
    let mut seen = Vec::new();
    loop {
        let page = client
            .list_resource_record_sets()
            .hosted_zone_id(&zone)
            .set_start_record_name(name)
            .set_start_record_type(kind)
            .set_start_record_identifier(identifier)
            .max_items(1)
            .send()
            .await
            .expect("listed");
        seen.extend(page.resource_record_sets().iter().map(|set| format!("{} {}", set.name(), set.r#type())));
        if !page.is_truncated() {
            break;
        }
        name = page.next_record_name().map(str::to_owned);
        kind = page.next_record_type().cloned();
        identifier = page.next_record_identifier().map(str::to_owned);
    }
    assert_eq!(seen, ["bank.example. NS", "bank.example. SOA", "api.bank.example. A"]);
}

#[tokio::test]
async fn refusals_have_their_codes_and_change_nothing() {
    let bench = Bench::start().await;
    let zone = zone(&bench);
    let client = Client::new(&bench.config);
    let create = |set| vec![(ChangeAction::Create, set)];
    for bare in [true, false] {
        bench
            .server
            .order(Order::World(Meddling::Switch { name: "bare-change-refusals".into(), on: bare }))
            .expect("ordered");
        let refused =
            change(&client, &zone, create(weighted("one", 1, "127.0.0.3"))).await.expect_err("beside it");
        // The bare form has no code that the SDK would find.
        assert_eq!(refused.is_invalid_change_batch(), !bare, "{refused:?}");
        assert_eq!(refused.code(), (!bare).then_some("InvalidChangeBatch"));
    }
    let mut without = weighted("one", 1, "127.0.0.3");
    without.set_identifier = None;
    let refused = change(&client, &zone, create(without)).await.expect_err("no identifier");
    assert!(refused.is_invalid_input(), "{refused:?}");
    let refused =
        change(&client, &zone, create(weighted("one", 300, "127.0.0.3"))).await.expect_err("too heavy");
    assert!(refused.message().is_some_and(|text| text.contains("between 0 and 255")), "{refused:?}");
    let refused =
        change(&client, "Z0NONE", create(weighted("one", 1, "127.0.0.3"))).await.expect_err("no zone");
    assert!(refused.is_no_such_hosted_zone(), "{refused:?}");
    let absent =
        client.get_hosted_zone().id("Z0NONE").send().await.expect_err("no zone").into_service_error();
    assert!(absent.is_no_such_hosted_zone());
    let absent = client.get_change().id("C0NONE").send().await.expect_err("no change").into_service_error();
    assert!(absent.is_no_such_change());
    let wrong = vec![(ChangeAction::Delete, simple(RrType::A, 61, "127.0.0.2"))];
    let refused = change(&client, &zone, wrong).await.expect_err("another TTL");
    assert!(
        refused.message().is_some_and(|text| text.contains("do not match the current values")),
        "{refused:?}"
    );
    let listed = client.list_resource_record_sets().hosted_zone_id(&zone).send().await.expect("listed");
    assert_eq!(listed.resource_record_sets().len(), 3, "nothing was changed");
    let unknown = client.list_hosted_zones().send().await.expect_err("not modelled").into_service_error();
    assert_eq!(unknown.code(), Some("UnknownOperationException"));
}

#[tokio::test]
async fn peoples_records_are_shown_as_they_are() {
    let bench = Bench::start().await;
    let zone = zone(&bench);
    let client = Client::new(&bench.config);
    let mut near = simple(RrType::Aaaa, 60, "2001:db8::1");
    near.set_identifier = Some("near".into());
    near.region = Some(ResourceRecordSetRegion::EuCentral1);
    let mut wild = simple(RrType::Txt, 60, "\"x\"");
    wild.name = "*.bank.example".into();
    change(&client, &zone, vec![(ChangeAction::Create, near), (ChangeAction::Create, wild)])
        .await
        .expect("made");
    let listed = client.list_resource_record_sets().hosted_zone_id(&zone).send().await.expect("listed");
    let sets = listed.resource_record_sets();
    let near = sets.iter().find(|set| set.r#type() == &RrType::Aaaa).expect("there");
    assert_eq!((near.region(), near.weight()), (Some(&ResourceRecordSetRegion::EuCentral1), None));
    assert!(sets.iter().any(|set| set.name() == "\\052.bank.example."), "{sets:?}");
}

#[tokio::test]
async fn the_account_is_throttled_and_faults_come_in_the_services_own_form() {
    let bench = Bench::start().await;
    let zone = zone(&bench);
    let client = Client::new(&bench.config);
    for (words, code) in [
        ("throttle route53:*", "Throttling"),
        ("access-denied route53:GetHostedZone", "AccessDenied"),
        ("expired-token *", "ExpiredToken"),
        ("error500 route53:Get*", "InternalFailure"),
    ] {
        say(&bench, words).await;
        let error = client.get_hosted_zone().id(&zone).send().await.expect_err(words);
        assert_eq!(error.code(), Some(code));
        let throttled =
            words.starts_with("throttle").then(|| error.raw_response().map(|raw| raw.status().as_u16()));
        assert_eq!(throttled.unwrap_or(Some(400)), Some(400), "Route 53 throttles with 400");
        say(&bench, "clear").await;
    }
    // A lost answer: the change happened.
    say(&bench, "timeout-after route53:ChangeResourceRecordSets --times 1").await;
    let put = || vec![(ChangeAction::Upsert, simple(RrType::A, 5, "127.0.0.4"))];
    change(&client, &zone, put()).await.expect_err("lost");
    let listed =
        client.list_resource_record_sets().hosted_zone_id(&zone).start_record_name(NAME).send().await;
    assert_eq!(listed.expect("listed").resource_record_sets()[0].ttl(), Some(5));
    // More than 50 at once, and more than 10 a second.
    let asked = (0..80).map(|_| client.get_hosted_zone().id(&zone).send());
    let answers = futures::future::join_all(asked).await;
    let throttled: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(!throttled.is_empty());
    assert!(throttled.iter().all(|error| error.code() == Some("Throttling")), "{throttled:?}");
}

#[tokio::test]
async fn a_zone_at_work_refuses_the_next_change() {
    let bench = Bench::start().await;
    let zone = zone(&bench);
    let client = Client::new(&bench.config);
    say(&bench, "switch changes-wait-for-insync on").await;
    let put = || vec![(ChangeAction::Upsert, simple(RrType::A, 5, "127.0.0.4"))];
    change(&client, &zone, put()).await.expect("the first");
    let refused = change(&client, &zone, put()).await.expect_err("too soon");
    assert!(refused.is_prior_request_not_complete(), "{refused:?}");
    eventually("the next is taken", async || change(&client, &zone, put()).await.is_ok()).await;
}

#[tokio::test]
async fn health_checks_can_be_named_by_records() {
    let bench = Bench::start().await;
    let zone = zone(&bench);
    let client = Client::new(&bench.config);
    let config = |path: &str| {
        let config =
            HealthCheckConfig::builder().r#type(HealthCheckType::Http).ip_address("192.0.2.1").port(80);
        config.resource_path(path).request_interval(30).failure_threshold(3).build().expect("complete")
    };
    let create = |path: &str| {
        client.create_health_check().caller_reference("once").health_check_config(config(path)).send()
    };
    let made = create("/healthz").await.expect("made").health_check.expect("shown");
    assert_eq!(create("/healthz").await.expect("the same").health_check.expect("shown").id(), made.id());
    let other = create("/other").await.expect_err("another configuration").into_service_error();
    assert!(other.is_health_check_already_exists(), "{other:?}");

    let mut named = weighted("one", 1, "127.0.0.3");
    named.health_check_id = Some(made.id().to_owned());
    let replace = vec![
        (ChangeAction::Delete, simple(RrType::A, 60, "127.0.0.2")),
        (ChangeAction::Create, named.clone()),
    ];
    change(&client, &zone, replace).await.expect("made");
    named.set_identifier = Some("two".into());
    named.health_check_id = Some("5a1d0000-0000-4000-8000-ffffffffffff".into());
    let refused = eventually_refused(&client, &zone, named).await;
    assert!(refused.is_no_such_health_check(), "{refused:?}");

    let status = async || {
        let seen = client.get_health_check_status().health_check_id(made.id()).send().await.expect("known");
        let report = seen.health_check_observations()[0].status_report().cloned().expect("shown");
        report.status().expect("said").to_owned()
    };
    assert!(status().await.starts_with("Success"));
    say(&bench, &format!("health-check {} fails", made.id())).await;
    assert!(status().await.starts_with("Failure"));
    client.delete_health_check().health_check_id(made.id()).send().await.expect("deleted");
    let gone = client.get_health_check().health_check_id(made.id()).send().await.expect_err("gone");
    assert!(gone.into_service_error().is_no_such_health_check());
}

/// The refusal of a change, once the zone is done with the one before.
async fn eventually_refused(
    client: &Client,
    zone: &str,
    set: ResourceRecordSet,
) -> ChangeResourceRecordSetsError {
    loop {
        match change(client, zone, vec![(ChangeAction::Create, set.clone())]).await {
            Err(refused) if refused.is_prior_request_not_complete() => {}
            other => return other.expect_err("refused"),
        }
    }
}
