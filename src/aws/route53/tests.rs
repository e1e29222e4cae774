//! The real client against replies written down before.

#![allow(clippy::unwrap_used, clippy::panic)]

use aws_sdk_route53::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_smithy_types::Document;

use super::*;
use crate::api::condition::Reason;
use crate::aws::responder::{Reply, Responder, lead};

const ZONE_ID: &str = "Z0123456789";
const NAME: &str = "payments.bank.example";

fn xml(root: &str, body: &str) -> Reply {
    Reply::xml(
        200,
        &format!(
            "<?xml version=\"1.0\"?><{root} xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">{body}</{root}>"
        ),
    )
}

/// A page of the list; `next` is (name, type, set identifier).
fn page(sets: &[&str], next: Option<(&str, &str, &str)>) -> Reply {
    let sets: String =
        sets.iter().map(|set| format!("<ResourceRecordSet>{set}</ResourceRecordSet>")).collect();
    let next = next.map(|(name, kind, set)| {
        format!(
            "<NextRecordName>{name}</NextRecordName><NextRecordType>{kind}</NextRecordType>\
             <NextRecordIdentifier>{set}</NextRecordIdentifier>"
        )
    });
    xml(
        "ListResourceRecordSetsResponse",
        &format!(
            "<ResourceRecordSets>{sets}</ResourceRecordSets><IsTruncated>{}</IsTruncated>{}<MaxItems>100</MaxItems>",
            next.is_some(),
            next.unwrap_or_default()
        ),
    )
}

const WEIGHTED: &str = "<Name>payments.bank.example.</Name><Type>A</Type><SetIdentifier>slipway-source-1</SetIdentifier>\
    <Weight>255</Weight><TTL>30</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.10</Value></ResourceRecord>\
    </ResourceRecords><HealthCheckId>hc-1</HealthCheckId>";
const ALIAS: &str = "<Name>payments.bank.example.</Name><Type>A</Type><SetIdentifier>slipway-target</SetIdentifier>\
    <Weight>0</Weight><AliasTarget><HostedZoneId>Z215JYRZR1TBD5</HostedZoneId><DNSName>Bank-1.elb.example.</DNSName>\
    <EvaluateTargetHealth>true</EvaluateTargetHealth></AliasTarget>";
const TEXT: &str = "<Name>payments.bank.example.</Name><Type>TXT</Type><TTL>300</TTL><ResourceRecords><ResourceRecord>\
    <Value>\"a &quot;b\\\"\" \"c\"</Value></ResourceRecord><ResourceRecord><Value>\"d\"</Value></ResourceRecord></ResourceRecords>";
const NEXT_NAME: &str = "<Name>zebra.bank.example.</Name><Type>A</Type><TTL>1</TTL><ResourceRecords><ResourceRecord>\
    <Value>192.0.2.1</Value></ResourceRecord></ResourceRecords>";

fn weighted() -> RecordSet {
    RecordSet {
        name: NAME.into(),
        kind: "A".into(),
        routing: Routing::Weighted { set_identifier: "slipway-source-1".into(), weight: 255 },
        answer: Answer::Values { ttl: 30, values: vec!["192.0.2.10".into()] },
        health_check: Some("hc-1".into()),
    }
}

fn alias() -> RecordSet {
    RecordSet {
        name: NAME.into(),
        kind: "A".into(),
        routing: Routing::Weighted { set_identifier: "slipway-target".into(), weight: 0 },
        answer: Answer::Alias {
            zone_id: "Z215JYRZR1TBD5".into(),
            dns_name: "bank-1.elb.example".into(),
            evaluate_target_health: true,
        },
        health_check: None,
    }
}

fn text() -> RecordSet {
    RecordSet {
        name: NAME.into(),
        kind: "TXT".into(),
        routing: Routing::Simple,
        answer: Answer::Values { ttl: 300, values: vec!["\"a \"b\\\"\" \"c\"".into(), "\"d\"".into()] },
        health_check: None,
    }
}

fn accepted() -> Reply {
    xml(
        "ChangeResourceRecordSetsResponse",
        "<ChangeInfo><Id>/change/C2682N5HXP0BZ4</Id><Status>PENDING</Status>\
         <SubmittedAt>2026-11-24T15:00:00.000Z</SubmittedAt></ChangeInfo>",
    )
}

#[tokio::test]
async fn a_zone_is_told_without_prefix_and_dot_and_one_that_is_gone_is_absent() {
    let zone = |private: &str| {
        xml(
            "GetHostedZoneResponse",
            &format!(
                "<HostedZone><Id>/hostedzone/{ZONE_ID}</Id><Name>bank.example.</Name><CallerReference>r</CallerReference>\
                 <Config><PrivateZone>{private}</PrivateZone></Config></HostedZone>"
            ),
        )
    };
    let replies = vec![zone("false"), zone("true"), Reply::xml_error(404, "NoSuchHostedZone")];
    let aws = Responder::start([("GetHostedZone", replies)]).await;
    let route53 = &aws.aws.route53;
    let expected = Zone { id: ZONE_ID.into(), name: "bank.example".into(), private: false };
    assert_eq!(route53.zone(ZONE_ID).await, Ok(Some(expected.clone())));
    assert_eq!(route53.zone("/hostedzone/Z0123456789").await, Ok(Some(Zone { private: true, ..expected })));
    assert_eq!(route53.zone(ZONE_ID).await, Ok(None));
    assert_eq!(aws.paths("GetHostedZone"), [const { "/2013-04-01/hostedzone/Z0123456789" }; 3]);
    assert_eq!(aws.outcomes(), ["ok", "ok", "absent"].map(|o| format!("route53 GetHostedZone {o}")));
}

#[tokio::test]
async fn all_records_of_a_name_and_none_of_another_are_read() {
    let aws = Responder::start([(
        "ListResourceRecordSets",
        vec![
            page(&[WEIGHTED], Some(("payments.bank.example.", "A", "slipway-target"))),
            page(&[ALIAS, TEXT], Some(("zebra.bank.example.", "A", "x"))),
            page(&[WEIGHTED, NEXT_NAME], Some(("zoo.bank.example.", "A", "x"))),
            page(&[NEXT_NAME], None),
            page(&[], None),
        ],
    )])
    .await;
    let route53 = &aws.aws.route53;
    assert_eq!(
        route53.records(ZONE_ID, "Payments.bank.example.").await,
        Ok(vec![weighted(), alias(), text()])
    );
    assert_eq!(
        aws.paths("ListResourceRecordSets"),
        [
            "/2013-04-01/hostedzone/Z0123456789/rrset?name=payments.bank.example&maxitems=100",
            "/2013-04-01/hostedzone/Z0123456789/rrset?name=payments.bank.example.&type=A&identifier=slipway-target\
             &maxitems=100",
        ]
    );
    assert_eq!(route53.records(ZONE_ID, NAME).await, Ok(vec![weighted()]), "another name follows");
    assert_eq!(route53.records(ZONE_ID, NAME).await, Ok(vec![]), "only another name");
    assert_eq!(route53.records(ZONE_ID, NAME).await, Ok(vec![]), "an empty page");
}

#[tokio::test]
async fn a_wildcard_is_found_as_route53_writes_it() {
    let wildcard = NEXT_NAME.replace("zebra", "\\052");
    let aws = Responder::start([("ListResourceRecordSets", vec![page(&[&wildcard], None)])]).await;
    let records = aws.aws.route53.records(ZONE_ID, "*.bank.example").await.unwrap();
    assert_eq!(records.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["*.bank.example"]);
}

#[tokio::test]
async fn a_list_without_an_end_is_no_list() {
    let again = || page(&[WEIGHTED], Some(("payments.bank.example.", "A", "slipway-source-1")));
    let nowhere = xml(
        "ListResourceRecordSetsResponse",
        "<ResourceRecordSets/><IsTruncated>true</IsTruncated><MaxItems>100</MaxItems>",
    );
    for replies in [vec![again()], vec![nowhere]] {
        let aws = Responder::start([("ListResourceRecordSets", replies)]).await;
        let fault = aws.aws.route53.records(ZONE_ID, NAME).await.unwrap_err();
        assert!(matches!(fault, Fault::Again(_)), "{fault:?}");
        assert!(aws.operations().len() <= 3);
    }
}

#[tokio::test]
async fn routings_that_we_have_no_words_for_are_told_and_never_written() {
    let sets = [
        ("<Region>eu-central-1</Region>", "latency"),
        ("<Failover>PRIMARY</Failover>", "failover"),
        ("<MultiValueAnswer>true</MultiValueAnswer>", "multivalue"),
        ("<GeoLocation><CountryCode>DE</CountryCode></GeoLocation>", "geolocation"),
        ("<TrafficPolicyInstanceId>1</TrafficPolicyInstanceId>", "traffic policy"),
        ("<Weight>256</Weight>", "weight 256"),
        ("", "unknown"),
    ];
    let leadership = lead().await;
    for (inside, word) in sets {
        let set = NEXT_NAME.replace("<TTL>", &format!("<SetIdentifier>s</SetIdentifier>{inside}<TTL>"));
        // No reply is written for a change: a test that sends one fails.
        let aws = Responder::start([("ListResourceRecordSets", vec![page(&[&set], None)])]).await;
        let route53 = &aws.aws.route53;
        let record = route53.records(ZONE_ID, "zebra.bank.example").await.unwrap().remove(0);
        assert_eq!(record.routing, Routing::Other(word.into()));
        let change = [Change::Delete(record)];
        let fault = route53.change(&leadership.permit(), ZONE_ID, "c", &change).await.unwrap_err();
        assert!(matches!(&fault, Fault::Bug(why) if why.contains(word)), "{fault:?}");
    }
}

#[tokio::test]
async fn a_batch_is_one_request_with_every_value() {
    let aws = Responder::start([("ChangeResourceRecordSets", vec![accepted()])]).await;
    let leadership = lead().await;
    let changes = [Change::Delete(text()), Change::Create(weighted()), Change::Upsert(alias())];
    let long = "why ".repeat(100);
    let id = aws.aws.route53.change(&leadership.permit(), ZONE_ID, &long, &changes).await.unwrap();
    assert_eq!(id, "C2682N5HXP0BZ4");
    let body = aws.last("ChangeResourceRecordSets");
    let body = body.as_str().unwrap();
    let comment = body.split_once("<Comment>").unwrap().1.split_once("</Comment>").unwrap().0;
    assert_eq!(comment, &long[..256]);
    let expected = "<Changes>\
        <Change><Action>DELETE</Action><ResourceRecordSet><Name>payments.bank.example</Name><Type>TXT</Type><TTL>300</TTL>\
        <ResourceRecords><ResourceRecord><Value>&quot;a &quot;b\\&quot;&quot; &quot;c&quot;</Value></ResourceRecord>\
        <ResourceRecord><Value>&quot;d&quot;</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change>\
        <Change><Action>CREATE</Action><ResourceRecordSet><Name>payments.bank.example</Name><Type>A</Type>\
        <SetIdentifier>slipway-source-1</SetIdentifier><Weight>255</Weight><TTL>30</TTL><ResourceRecords><ResourceRecord>\
        <Value>192.0.2.10</Value></ResourceRecord></ResourceRecords><HealthCheckId>hc-1</HealthCheckId></ResourceRecordSet>\
        </Change><Change><Action>UPSERT</Action><ResourceRecordSet><Name>payments.bank.example</Name><Type>A</Type>\
        <SetIdentifier>slipway-target</SetIdentifier><Weight>0</Weight><AliasTarget><HostedZoneId>Z215JYRZR1TBD5\
        </HostedZoneId><DNSName>bank-1.elb.example</DNSName><EvaluateTargetHealth>true</EvaluateTargetHealth></AliasTarget>\
        </ResourceRecordSet></Change></Changes>";
    // However the quotes are written: as they are, or escaped.
    assert!(body.replace('"', "&quot;").contains(expected), "{body}");
    assert_eq!(aws.seen().len(), 1);
}

#[tokio::test]
async fn a_change_is_sent_with_a_permit_that_is_valid_or_not_at_all() {
    use crate::permit::Term;
    let aws = Responder::start([("ChangeResourceRecordSets", vec![accepted()])]).await;
    let leadership = lead().await.within(Term::default());
    let change = [Change::Upsert(weighted())];
    let fault = aws.aws.route53.change(&leadership.permit(), ZONE_ID, "c", &change).await.unwrap_err();
    assert!(matches!(fault, Fault::Again(_)) && aws.seen().is_empty(), "{fault:?}");
}

#[tokio::test]
async fn each_refusal_says_what_now_and_repeats_nothing() {
    let batch = |message: &str| {
        Reply::xml(
            400,
            &format!(
                "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error>\
                 <Type>Sender</Type><Code>InvalidChangeBatch</Code><Message>[LEAK {message}]</Message></Error>\
                 <RequestId>1234-abcd</RequestId></ErrorResponse>"
            ),
        )
    };
    // The form of its own, which has no code.
    let bare = |message: &str| {
        Reply::xml(
            400,
            &format!(
                "<?xml version=\"1.0\"?><InvalidChangeBatch xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
                 <Messages><Message>LEAK {message}</Message></Messages></InvalidChangeBatch>"
            ),
        )
    };
    let exists =
        "Tried to create resource record set [name='x.', type='A', set-identifier='s'] but it already exists";
    let differs = "Tried to delete resource record set [name='x.', type='A'] but the values provided do not match the \
                   current values";
    let gone = "Tried to delete resource record set [name='x.', type='A'] but it was not found";
    let beside = "RRSet of type A with DNS name x. is not permitted because a conflicting RRSet of type CNAME with the \
                  same DNS name already exists in zone example.";
    let alias = "Tried to create an alias that targets y., type A in zone Z, but that target was not found";
    let table = [
        (batch(exists), "InvalidChangeBatch", "again", "looking again"),
        (batch(differs), "InvalidChangeBatch", "again", "looking again"),
        (batch(gone), "InvalidChangeBatch", "again", "nothing was changed"),
        (bare(exists), "InvalidChangeBatch", "again", "looking again"),
        (bare(differs), "InvalidChangeBatch", "again", "looking again"),
        (batch(beside), "InvalidChangeBatch", "RequestRefused", FIELD),
        (bare(beside), "InvalidChangeBatch", "RequestRefused", "nothing was changed"),
        (batch(alias), "InvalidChangeBatch", "RequestRefused", "load balancer"),
        (Reply::xml_error(400, "PriorRequestNotComplete"), "PriorRequestNotComplete", "wait", "this zone"),
        (Reply::xml_error(400, "Throttling"), "Throttling", "again", "throttling"),
        (Reply::xml_error(400, "ThrottlingException"), "ThrottlingException", "again", "throttling"),
        (Reply::xml_error(404, "NoSuchHostedZone"), "NoSuchHostedZone", "RequestRefused", "route53.zoneID"),
        (Reply::xml_error(404, "NoSuchHealthCheck"), "NoSuchHealthCheck", "RequestRefused", "health check"),
        (Reply::xml_error(400, "InvalidInput"), "InvalidInput", "RequestRefused", FIELD),
        (Reply::xml_error(400, "LimitsExceeded"), "LimitsExceeded", "QuotaExceeded", "route53"),
        (
            Reply::xml_error(403, "AccessDenied"),
            "AccessDenied",
            "AccessDenied",
            "route53:ChangeResourceRecordSets",
        ),
        (Reply::xml_error(400, "NobodyKnowsThis"), "NobodyKnowsThis", "again", "does not know"),
        (Reply::xml(400, "LEAK"), "HTTP 400", "again", "does not know"),
    ];
    let leadership = lead().await;
    for (reply, code, expected, says) in table {
        let aws = Responder::start([("ChangeResourceRecordSets", vec![reply])]).await;
        let change = [Change::Upsert(weighted()), Change::Upsert(marker())];
        let fault = aws.aws.route53.change(&leadership.permit(), ZONE_ID, "c", &change).await.unwrap_err();
        let class = match &fault {
            Fault::Blocked(blocked) => blocked.reason.as_str(),
            other => other.class(),
        };
        assert_eq!(class, expected, "{code}: {fault}");
        assert!(fault.message().contains(says), "{code}: {fault}");
        let head = format!(
            "ChangeResourceRecordSets payments.bank.example, slipway.payments.bank.example in {ZONE_ID}: {code} (client \
             error, request 1234-abcd): "
        );
        assert!(fault.message().starts_with(&head), "{fault}");
        assert!(!fault.message().contains("LEAK") && !fault.message().contains("name='x"), "{fault}");
    }
}

fn marker() -> RecordSet {
    RecordSet { name: format!("slipway.{NAME}"), ..text() }
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_may_have_been_made() {
    let leadership = lead().await;
    for reply in [
        Reply::lost(),
        Reply::xml(200, "not XML"),
        xml("ChangeResourceRecordSetsResponse", ""),
        Reply::xml_error(500, "InternalError"),
    ] {
        let again = reply.is_refusal();
        let aws = Responder::start([("ChangeResourceRecordSets", vec![reply])]).await;
        let change = [Change::Upsert(weighted())];
        let fault = aws.aws.route53.change(&leadership.permit(), ZONE_ID, "c", &change).await.unwrap_err();
        assert_eq!(fault.class(), if again { "again" } else { "unknown" }, "{fault:?}");
    }
}

#[tokio::test]
async fn a_zone_that_is_gone_has_no_empty_list_of_records() {
    let refused = Reply::xml_error(404, "NoSuchHostedZone");
    let aws = Responder::start([("ListResourceRecordSets", vec![refused])]).await;
    let fault = aws.aws.route53.records(ZONE_ID, NAME).await.unwrap_err();
    assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::RequestRefused), "{fault:?}");
    assert!(fault.message().contains("spec.traffic.route53.zoneID"), "{fault}");
}

#[tokio::test]
async fn progress_is_pending_until_it_is_said_to_be_in_sync() {
    let progress = |status: &str| {
        xml(
            "GetChangeResponse",
            &format!(
                "<ChangeInfo><Id>/change/C1</Id><Status>{status}</Status>\
                 <SubmittedAt>2026-11-24T15:00:00.000Z</SubmittedAt></ChangeInfo>"
            ),
        )
    };
    let replies = vec![
        progress("PENDING"),
        progress("INSYNC"),
        progress("SOMETHING"),
        Reply::xml_error(404, "NoSuchChange"),
        Reply::xml_error(400, "Throttling"),
    ];
    let aws = Responder::start([("GetChange", replies)]).await;
    let route53 = &aws.aws.route53;
    assert_eq!(route53.propagation("C1").await, Ok(Some(Propagation::Pending)));
    assert_eq!(route53.propagation("/change/C1").await, Ok(Some(Propagation::InSync)));
    assert_eq!(route53.propagation("C1").await, Ok(Some(Propagation::Pending)));
    assert_eq!(route53.propagation("C1").await, Ok(None));
    assert!(matches!(route53.propagation("C1").await, Err(Fault::Again(_))));
    assert_eq!(aws.paths("GetChange"), [const { "/2013-04-01/change/C1" }; 5]);
}

#[tokio::test]
async fn urgent_calls_use_what_routine_ones_must_leave() {
    let aws = Responder::start([("GetChange", vec![Reply::xml_error(404, "NoSuchChange")])]).await;
    let (routine, urgent) = (&aws.aws.route53, aws.aws.route53.urgent());
    for _ in 0..15 {
        routine.propagation("C1").await.unwrap();
    }
    // One more would wait a third of a second, and a hundred a long time; an urgent one goes before all of them.
    let waiting = async {
        futures::future::join_all((0..100).map(|_| routine.propagation("C1"))).await;
    };
    tokio::select! {
        biased;
        () = waiting => panic!("they did not wait"),
        found = async {
            tokio::task::yield_now().await;
            urgent.propagation("C2").await
        } => assert_eq!(found, Ok(None)),
    }
    let paths = aws.paths("GetChange");
    assert!(paths.len() < 30 && paths.iter().any(|path| path.ends_with("C2")), "{paths:?}");
}

#[tokio::test]
async fn requests_are_signed_for_the_region_of_route53_wherever_the_account_is() {
    let aws = Responder::start([("GetChange", vec![Reply::xml_error(404, "NoSuchChange")])]).await;
    aws.aws.route53.propagation("C1").await.unwrap();
    assert_eq!(aws.seen()[0].signed_for, "us-east-1/route53");
}

/// The SDK's own rules, where they apply, agree with ours.
#[tokio::test]
async fn the_region_of_route53_is_that_of_the_sdk() {
    async fn resolved(region: &str) -> (String, String) {
        let params = Params::builder().region(region.to_owned()).use_fips(false).use_dual_stack(false);
        let endpoint = DefaultResolver::new().resolve_endpoint(&params.build().unwrap()).await.unwrap();
        let Some(Document::Array(schemes)) = endpoint.properties().get("authSchemes") else {
            panic!("{endpoint:?}")
        };
        let scheme = schemes[0].as_object().unwrap();
        (endpoint.url().to_owned(), scheme["signingRegion"].as_string().unwrap().to_owned())
    }
    for (region, signing) in [
        ("eu-central-1", "us-east-1"),
        ("us-east-1", "us-east-1"),
        ("us-west-2", "us-east-1"),
        ("ap-southeast-5", "us-east-1"),
        ("cn-north-1", "cn-northwest-1"),
        ("us-gov-east-1", "us-gov-west-1"),
        ("us-iso-west-1", "us-iso-east-1"),
        ("eusc-de-east-1", "eusc-de-east-1"),
    ] {
        let (url, of_sdk) = resolved(region).await;
        assert_eq!(of_sdk, signing, "{region}");
        assert_eq!(resolved(signing_region(region)).await, (url, of_sdk), "{region}");
    }
}
