//! Alarms: read, set, deleted, and only our own.

use aws_sdk_cloudwatch::types::{self, ComparisonOperator, Dimension, MetricAlarm, Tag};

use super::{Alarm, CloudWatch, Comparison, MissingData, PERIOD, SeenAlarm, Statistic};
use crate::aws::call::{Operation, pages, present};
use crate::aws::dms::Owner;
use crate::aws::inventory::{Kind, Tags, Thing};
use crate::aws::owner::Ownership;
use crate::fault::Fault;
use crate::permit::Permit;

pub(super) const DESCRIBE_ALARMS: Operation = Operation::read("cloudwatch", "DescribeAlarms", "spec.alarms");
const LIST_TAGS: Operation = Operation::read("cloudwatch", "ListTagsForResource", "spec.alarms");
const PUT_ALARM: Operation = Operation::change("cloudwatch", "PutMetricAlarm", "spec.alarms");
const DELETE_ALARMS: Operation = Operation::change("cloudwatch", "DeleteAlarms", "spec.alarms");

impl CloudWatch {
    /// Those of these alarms that exist.
    pub async fn alarms(&self, names: &[String], ours: &Ownership) -> Result<Vec<SeenAlarm>, Fault> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let on = names.join(", ");
        let found = pages(
            &on,
            |token| {
                let request = self
                    .client
                    .describe_alarms()
                    .set_alarm_names(Some(names.to_vec()))
                    .alarm_types(types::AlarmType::MetricAlarm)
                    .max_records(100)
                    .set_next_token(token);
                self.caller.call(DESCRIBE_ALARMS, &on, request.send())
            },
            |page| (page.metric_alarms, page.next_token),
        )
        .await?;
        let mut alarms = Vec::new();
        for seen in found {
            if !names.iter().any(|name| Some(name.as_str()) == seen.alarm_name()) {
                continue;
            }
            let owner = self.owner(seen.alarm_arn().unwrap_or_default(), ours).await?;
            let state = seen.state_value().map(|state| state.as_str().to_owned()).unwrap_or_default();
            alarms.push(SeenAlarm { alarm: alarm(seen), state, owner });
        }
        Ok(alarms)
    }

    /// All metric alarms, whosever they are.
    pub(in crate::aws) async fn all_alarms(&self) -> Result<Vec<Thing>, Fault> {
        let on = "all alarms";
        let found = pages(
            on,
            |token| {
                let request = self
                    .client
                    .describe_alarms()
                    .alarm_types(types::AlarmType::MetricAlarm)
                    .max_records(100)
                    .set_next_token(token);
                self.caller.call(DESCRIBE_ALARMS, on, request.send())
            },
            |page| (page.metric_alarms, page.next_token),
        )
        .await?;
        let thing = |seen: MetricAlarm| Thing {
            kind: Kind::Alarm,
            identifier: seen.alarm_name.unwrap_or_default(),
            arn: seen.alarm_arn.unwrap_or_default(),
            state: seen.state_value.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            uses: Vec::new(),
        };
        Ok(found.into_iter().map(thing).collect())
    }

    /// Makes an alarm, or sets our own anew; refuses to overwrite anybody else's.
    pub async fn put_alarm(&self, permit: &Permit<'_>, ours: &Ownership, alarm: &Alarm) -> Result<(), Fault> {
        let name = &alarm.name;
        for seen in self.alarms(std::slice::from_ref(name), ours).await? {
            ours.require(PUT_ALARM.name, name, &seen.owner)?;
        }
        let dimensions = alarm.dimensions.iter();
        let dimensions = dimensions.map(|(name, value)| Dimension::builder().name(name).value(value).build());
        let tags = ours.tags().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let request = self
            .client
            .put_metric_alarm()
            .alarm_name(name)
            .alarm_description(&alarm.description)
            .namespace(&alarm.namespace)
            .metric_name(&alarm.metric)
            .set_dimensions(Some(dimensions.collect()))
            .comparison_operator(match &alarm.comparison {
                Comparison::GreaterThanThreshold => ComparisonOperator::GreaterThanThreshold,
                Comparison::LessThanThreshold => ComparisonOperator::LessThanThreshold,
                Comparison::Other(word) => ComparisonOperator::from(word.as_str()),
            })
            .threshold(alarm.threshold)
            .period(PERIOD)
            .evaluation_periods(alarm.periods)
            .datapoints_to_alarm(alarm.periods)
            .treat_missing_data(match &alarm.missing_data {
                MissingData::Breaching => "breaching",
                MissingData::NotBreaching => "notBreaching",
                MissingData::Other(word) => word,
            })
            .actions_enabled(true)
            .alarm_actions(&alarm.sns_topic_arn)
            .ok_actions(&alarm.sns_topic_arn)
            .set_tags(Some(tags.into()));
        let request = match &alarm.statistic {
            Statistic::Average => request.statistic(types::Statistic::Average),
            Statistic::Maximum => request.statistic(types::Statistic::Maximum),
            Statistic::SampleCount => request.statistic(types::Statistic::SampleCount),
            Statistic::Sum => request.statistic(types::Statistic::Sum),
            Statistic::Extended(percentile) => request.extended_statistic(percentile),
            Statistic::Other(word) => request.statistic(types::Statistic::from(word.as_str())),
        };
        self.caller.change(permit, PUT_ALARM, name, request.send()).await?;
        Ok(())
    }

    /// Deletes those of these alarms that are ours, and refuses all of them if one is not. Content with what is gone.
    pub async fn delete_alarms(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        names: &[String],
    ) -> Result<(), Fault> {
        let seen = self.alarms(names, ours).await?;
        for seen in &seen {
            ours.require(DELETE_ALARMS.name, &seen.alarm.name, &seen.owner)?;
        }
        let names: Vec<String> = seen.into_iter().map(|seen| seen.alarm.name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let on = names.join(", ");
        let request = self.client.delete_alarms().set_alarm_names(Some(names)).send();
        present(self.caller.change(permit, DELETE_ALARMS, &on, request).await)?;
        Ok(())
    }

    /// Read anew each time: each caller is about to act on it, or reads seldom.
    pub(super) async fn owner(&self, arn: &str, ours: &Ownership) -> Result<Owner, Fault> {
        Ok(ours.judge(&self.tags(arn).await?.unwrap_or_default()))
    }

    /// The tags of one alarm or dashboard, read now; `None` if it is not there.
    pub(in crate::aws) async fn tags(&self, arn: &str) -> Result<Option<Tags>, Fault> {
        let request = self.client.list_tags_for_resource().resource_arn(arn).send();
        let reply = present(self.caller.call(LIST_TAGS, arn, request).await)?;
        Ok(reply.map(|reply| {
            let tags = reply.tags.unwrap_or_default();
            tags.into_iter().filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect()
        }))
    }
}

/// An alarm as it is. What [`Alarm`] has no place for is told in a field that then equals no wish, so it is set anew.
fn alarm(seen: MetricAlarm) -> Alarm {
    let statistic = match (&seen.statistic, &seen.extended_statistic, seen.period) {
        (Some(types::Statistic::Average), None, Some(PERIOD)) => Statistic::Average,
        (Some(types::Statistic::Maximum), None, Some(PERIOD)) => Statistic::Maximum,
        (Some(types::Statistic::SampleCount), None, Some(PERIOD)) => Statistic::SampleCount,
        (Some(types::Statistic::Sum), None, Some(PERIOD)) => Statistic::Sum,
        (None, Some(percentile), Some(PERIOD)) if seen.evaluate_low_sample_count_percentile.is_none() => {
            Statistic::Extended(percentile.clone())
        }
        (statistic, extended, period) => Statistic::Other(format!(
            "{} over {} s",
            statistic.as_ref().map_or_else(|| extended.as_deref().unwrap_or("no statistic"), |s| s.as_str()),
            period.unwrap_or_default()
        )),
    };
    let periods = seen.evaluation_periods.unwrap_or_default();
    let comparison = match (&seen.comparison_operator, seen.datapoints_to_alarm.unwrap_or(periods)) {
        (Some(ComparisonOperator::GreaterThanThreshold), n) if n == periods => {
            Comparison::GreaterThanThreshold
        }
        (Some(ComparisonOperator::LessThanThreshold), n) if n == periods => Comparison::LessThanThreshold,
        (operator, n) => Comparison::Other(format!(
            "{} in {n} of {periods} periods",
            operator.as_ref().map_or("no comparison", |o| o.as_str())
        )),
    };
    let missing_data = match seen.treat_missing_data.as_deref() {
        Some("breaching") => MissingData::Breaching,
        Some("notBreaching") => MissingData::NotBreaching,
        Some(other) => MissingData::Other(other.to_owned()),
        None => MissingData::Other("missing".to_owned()),
    };
    let (alarm_actions, ok_actions) =
        (seen.alarm_actions.unwrap_or_default(), seen.ok_actions.unwrap_or_default());
    let sns_topic_arn = match alarm_actions.as_slice() {
        [topic] if seen.actions_enabled == Some(true) && ok_actions == [topic.as_str()] => topic.clone(),
        _ => format!(
            "actions enabled {}, on alarm [{}], on ok [{}]",
            seen.actions_enabled.unwrap_or_default(),
            alarm_actions.join(" "),
            ok_actions.join(" ")
        ),
    };
    let dimensions = seen.dimensions.unwrap_or_default();
    Alarm {
        name: seen.alarm_name.unwrap_or_default(),
        description: seen.alarm_description.unwrap_or_default(),
        namespace: seen.namespace.unwrap_or_default(),
        metric: seen.metric_name.unwrap_or_default(),
        dimensions: dimensions
            .into_iter()
            .map(|dimension| (dimension.name.unwrap_or_default(), dimension.value.unwrap_or_default()))
            .collect(),
        statistic,
        comparison,
        threshold: seen.threshold.unwrap_or(f64::NAN),
        periods,
        missing_data,
        sns_topic_arn,
    }
}
