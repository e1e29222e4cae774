//! Lead the record by which applications find the writer, and give it back. Each looks anew before its batch: what stands there
//! may have changed, and an answer that was lost may have been a yes.

use super::Hands;
use crate::aws::route53::{Change, RecordSet, Route53};
use crate::database::cname;
use crate::database::context::Memory;
use crate::database::decide::Move;
use crate::database::goal::{Goal, RecordGoal};
use crate::database::observe::cname_sets;
use crate::database::seen::Seen;
use crate::database::sight::Kept;
use crate::fault::Fault;
use crate::marker::Changed;
use crate::side::Side;

/// Lowers its TTL, long before it is led elsewhere.
pub(super) async fn lower(
    hands: &Hands<'_>,
    goal: &Goal,
    seen: &Seen,
    memory: &mut Memory,
) -> Result<(), Fault> {
    let record = wanted(goal)?;
    let epoch = goal.decided.as_ref().map_or(0, |decided| decided.epoch);
    let host = host(seen, Side::Source)?;
    let route53 = &hands.aws.connections;
    change(hands, route53, goal, record, memory, |sets| {
        cname::lead(goal, record, sets, &[host], host, Changed { epoch, at: seen.now })
    })
    .await
}

/// Leads it to the new writer. Where it leads there already the same batch is sent again: nothing changes, and there is a
/// change of our own whose progress can be asked for.
pub(super) async fn repoint(
    hands: &Hands<'_>,
    goal: &Goal,
    seen: &Seen,
    memory: &mut Memory,
    record: &RecordGoal,
    step: &Move,
) -> Result<(), Fault> {
    let (old, new) = (host(seen, step.direction.from)?, host(seen, step.direction.to())?);
    let changed = Changed { epoch: step.epoch, at: seen.now };
    let route53 = hands.aws.connections.urgent();
    change(hands, &route53, goal, record, memory, |sets| {
        cname::lead(goal, record, sets, &[old, new], new, changed)
    })
    .await
}

/// Gives it its own TTL again and removes the marker.
pub(super) async fn give_back(hands: &Hands<'_>, goal: &Goal, memory: &mut Memory) -> Result<(), Fault> {
    let record = wanted(goal)?;
    let route53 = &hands.aws.connections;
    change(hands, route53, goal, record, memory, |sets| Ok(cname::give_back_batch(goal, record, sets))).await
}

async fn change(
    hands: &Hands<'_>,
    route53: &Route53,
    goal: &Goal,
    record: &RecordGoal,
    memory: &mut Memory,
    batch: impl FnOnce(&[RecordSet]) -> Result<Vec<Change>, Fault>,
) -> Result<(), Fault> {
    // Done or not: what was known of it is old from here on.
    memory.cname = Kept::default();
    memory.seen.cname_change = None;
    let batch = batch(&cname_sets(route53, record).await?)?;
    if batch.is_empty() {
        return Ok(());
    }
    let comment = format!("Slipway: DatabaseMigration {}", goal.migration.resource());
    let id = route53.change(hands.permit, &record.zone_id, &comment, &batch).await?;
    memory.seen.cname_change = Some(id);
    Ok(())
}

fn wanted(goal: &Goal) -> Result<&RecordGoal, Fault> {
    cname::of(goal).ok_or_else(|| Fault::Bug("applications find the writer by no record".to_owned()))
}

fn host(seen: &Seen, side: Side) -> Result<&str, Fault> {
    seen.address.get(side).as_ref().map(|(host, _)| host.as_str()).map_err(Clone::clone)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use kube::{Client, Config};

    use super::*;
    use crate::api::condition::Reason;
    use crate::aws::responder::{Reply, Responder, lead};
    use crate::database::decide::MoveStep;
    use crate::database::decide::scene::Scene;
    use crate::database::goal::ConnectionGoal;
    use crate::database::observe::Means;
    use crate::marker::Marker;
    use crate::side::Direction;

    fn xml(root: &str, body: &str) -> Reply {
        let space = "https://route53.amazonaws.com/doc/2013-04-01/";
        Reply::xml(200, &format!("<?xml version=\"1.0\"?><{root} xmlns=\"{space}\">{body}</{root}>"))
    }

    fn listed(name: &str, kind: &str, ttl: u32, value: &str) -> Reply {
        let set = format!(
            "<ResourceRecordSet><Name>{name}.</Name><Type>{kind}</Type><TTL>{ttl}</TTL><ResourceRecords><ResourceRecord>\
             <Value>{}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>",
            value.replace('"', "&quot;")
        );
        list(&set)
    }

    fn list(sets: &str) -> Reply {
        let sets = format!("<ResourceRecordSets>{sets}</ResourceRecordSets>");
        let rest = "<IsTruncated>false</IsTruncated><MaxItems>100</MaxItems>";
        xml("ListResourceRecordSetsResponse", &format!("{sets}{rest}"))
    }

    fn accepted(id: &str) -> Reply {
        let info = format!(
            "<ChangeInfo><Id>/change/{id}</Id><Status>PENDING</Status><SubmittedAt>2026-11-24T15:00:00.000Z</SubmittedAt>\
             </ChangeInfo>"
        );
        xml("ChangeResourceRecordSetsResponse", &info)
    }

    /// Follows its source; applications find it by a name.
    fn scene() -> Scene {
        let mut scene = Scene::replicating();
        let record = RecordGoal { zone_id: "Z1".to_owned(), name: "db.bank.example".to_owned(), ttl: 5 };
        scene.goal.cutover.connection = Some(ConnectionGoal::Record(record));
        scene
    }

    fn repointing(scene: &Scene) -> Move {
        Move {
            epoch: 7,
            fence_id: "7".to_owned(),
            direction: Direction::FORWARD,
            slot: scene.goal.migration.move_slot(),
            what: MoveStep::Repoint,
        }
    }

    /// Name, type, TTL and value of each change, in their order.
    fn batch(aws: &Responder) -> Vec<(String, String, String, String)> {
        let body = aws.last("ChangeResourceRecordSets").as_str().unwrap().replace("&quot;", "\"");
        let part = |text: &str, tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>")).unwrap();
            rest.split_once(&format!("</{tag}>")).unwrap().0.to_owned()
        };
        let changes = body.split("<Change>").skip(1);
        changes.map(|it| (part(it, "Action"), part(it, "Type"), part(it, "TTL"), part(it, "Value"))).collect()
    }

    fn marker(epoch: i64, scene: &Scene) -> String {
        let at = scene.seen.now.as_second();
        format!(
            "\"heritage=slipway,uid=u-1,resource=default/payments-db,batch=000001\" \"changed={epoch};at={at}\" \
             \"replaced=CNAME;ttl=300;values=pg01.bank.example\""
        )
    }

    async fn act(
        aws: &Responder,
        scene: &Scene,
        memory: &mut Memory,
        step: Option<&Move>,
    ) -> Result<(), Fault> {
        let client = Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let leadership = lead().await;
        let (permit, means) = (leadership.permit(), Means::default());
        let hands = Hands { client: &client, aws: &aws.aws, means: &means, permit: &permit };
        let Some(step) = step else { return lower(&hands, &scene.goal, &scene.seen, memory).await };
        let record = wanted(&scene.goal)?;
        repoint(&hands, &scene.goal, &scene.seen, memory, record, step).await
    }

    #[tokio::test]
    async fn the_owners_record_is_marked_and_led_by_batches_that_say_what_was_read() {
        let (scene, mut memory) = (scene(), Memory::default());
        let aws = Responder::start([
            (
                "ListResourceRecordSets",
                vec![listed("db.bank.example", "CNAME", 300, "pg01.bank.example"), list("")],
            ),
            ("ChangeResourceRecordSets", vec![accepted("C1")]),
        ])
        .await;
        act(&aws, &scene, &mut memory, None).await.unwrap();
        assert_eq!(memory.seen.cname_change.as_deref(), Some("C1"));
        let change = |action: &str, kind: &str, ttl: &str, value: &str| {
            (action.to_owned(), kind.to_owned(), ttl.to_owned(), value.to_owned())
        };
        let lowered = marker(0, &scene);
        assert_eq!(
            batch(&aws),
            [
                change("DELETE", "CNAME", "300", "pg01.bank.example"),
                change("CREATE", "CNAME", "5", "pg01.bank.example"),
                change("CREATE", "TXT", "5", &lowered),
            ]
        );

        let stand = |host| {
            let name = listed("db.bank.example", "CNAME", 5, host);
            vec![name, listed("slipway.db.bank.example", "TXT", 5, &lowered)]
        };
        // Its answer is lost. It was carried out all the same, and the batch goes out again for a change to ask after.
        let aws = Responder::start([
            ("ListResourceRecordSets", [stand("pg01.bank.example"), stand("rds.example")].concat()),
            ("ChangeResourceRecordSets", vec![Reply::lost(), accepted("C2")]),
        ])
        .await;
        let step = repointing(&scene);
        let fault = act(&aws, &scene, &mut memory, Some(&step)).await.unwrap_err();
        assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
        assert_eq!(memory.seen.cname_change, None, "what came before says nothing of this one");
        act(&aws, &scene, &mut memory, Some(&step)).await.unwrap();
        assert_eq!(memory.seen.cname_change.as_deref(), Some("C2"));
        assert_eq!(
            batch(&aws),
            [
                change("DELETE", "CNAME", "5", "rds.example"),
                change("DELETE", "TXT", "5", &lowered),
                change("CREATE", "CNAME", "5", "rds.example"),
                change("CREATE", "TXT", "5", &marker(7, &scene)),
            ]
        );
        let told = Marker::decode(&marker(7, &scene)).unwrap().replaced.unwrap();
        assert_eq!((told.ttl, told.values), (300, vec!["pg01.bank.example".to_owned()]));
    }

    #[tokio::test]
    async fn what_stands_otherwise_is_left_alone_and_refusals_name_the_field() {
        let scene = scene();
        let step = repointing(&scene);
        let third = || vec![listed("db.bank.example", "CNAME", 5, "third.example"), list("")];
        let ours = || vec![listed("db.bank.example", "CNAME", 5, "pg01.bank.example"), list("")];
        let differs = "<?xml version=\"1.0\"?><ErrorResponse><Error><Type>Sender</Type><Code>InvalidChangeBatch</Code><Message>\
                       [Tried to delete resource record set [name='x.', type='CNAME'] but the values provided do not match \
                       the current values]</Message></Error><RequestId>1</RequestId></ErrorResponse>";
        for (lists, answer, reason, words, sent) in [
            (
                third(),
                accepted("C1"),
                Some(Reason::RecordConflict),
                "spec.cutover.connection.record.name",
                false,
            ),
            (
                vec![Reply::xml_error(404, "NoSuchHostedZone"), list("")],
                accepted("C1"),
                Some(Reason::RequestRefused),
                "spec.cutover.connection.record.zoneID",
                false,
            ),
            (
                ours(),
                Reply::xml_error(403, "AccessDenied"),
                Some(Reason::AccessDenied),
                "route53:Change",
                true,
            ),
            (
                ours(),
                Reply::xml_error(400, "InvalidInput"),
                Some(Reason::RequestRefused),
                "connection.record",
                true,
            ),
            (ours(), Reply::xml(400, differs), None, "looking again", true),
            (ours(), Reply::xml_error(400, "Throttling"), None, "throttling", true),
        ] {
            let mut memory = Memory::default();
            let aws = Responder::start([
                ("ListResourceRecordSets", lists),
                ("ChangeResourceRecordSets", vec![answer]),
            ])
            .await;
            let fault = act(&aws, &scene, &mut memory, Some(&step)).await.unwrap_err();
            let found = match &fault {
                Fault::Blocked(blocked) => Some(blocked.reason),
                other => {
                    assert!(matches!(other, Fault::Again(_)), "{other:?}");
                    None
                }
            };
            assert_eq!(found, reason, "{fault}");
            assert!(fault.message().contains(words), "{fault}");
            let changes = aws.operations().iter().filter(|it| *it == "ChangeResourceRecordSets").count();
            assert_eq!(changes, usize::from(sent), "{fault}");
        }
    }
}
