//! `CloudWatch`: rpc-v2-cbor. The Rust SDK sends maps of indefinite length, and wants timestamps under tag 1.

use std::collections::BTreeMap;

use ciborium::Value;
use jiff::Timestamp;

use crate::world::cloudwatch::{
    Alarm, AlarmPage, Call, Composite, Dashboard, DescribeAlarms, GetMetricData, MetricQuery, MetricResult,
    PutCompositeAlarm, PutDashboard, PutMetric, PutMetricAlarm, Reply, Series, SetAlarmState, Statistic,
};
use crate::world::{self, Refusal};

/// A request's body as a call. A field that the model lacks is refused rather than ignored.
pub(super) fn decode(operation: &str, body: &[u8]) -> Result<world::Call, Refusal> {
    let value: Value = ciborium::from_reader(body).map_err(|error| unreadable(&error.to_string()))?;
    let mut fields = Fields::new(operation, value)?;
    let call = match operation {
        "GetMetricData" => {
            let queries = fields.list("MetricDataQueries")?;
            let queries = queries.into_iter().map(query).collect::<Result<_, _>>()?;
            let ascending = match fields.text("ScanBy")?.as_deref() {
                None | Some("TimestampDescending") => false,
                Some("TimestampAscending") => true,
                Some(other) => return Err(invalid(format!("ScanBy {other:?} is not known"))),
            };
            // There is never so much that it would be cut.
            let _largest = fields.integer("MaxDatapoints")?;
            let (start, end) = (fields.time("StartTime")?, fields.time("EndTime")?);
            Call::GetMetricData(GetMetricData { queries, start, end, ascending })
        }
        "PutMetricAlarm" => Call::PutMetricAlarm(Box::new(alarm(&mut fields)?)),
        "PutMetricData" => {
            let namespace = fields.needed_text("Namespace")?;
            let data = fields.list("MetricData")?;
            Call::PutMetricData(
                data.into_iter().map(|datum| put_metric(&namespace, datum)).collect::<Result<_, _>>()?,
            )
        }
        "PutCompositeAlarm" => Call::PutCompositeAlarm(PutCompositeAlarm {
            name: fields.needed_text("AlarmName")?,
            rule: fields.needed_text("AlarmRule")?,
            description: fields.text("AlarmDescription")?,
            actions_enabled: fields.take("ActionsEnabled") != Some(Value::Bool(false)),
            alarm_actions: fields.texts("AlarmActions")?,
            tags: tags(&mut fields)?,
        }),
        "SetAlarmState" => Call::SetAlarmState(SetAlarmState {
            name: fields.needed_text("AlarmName")?,
            state: fields.needed_text("StateValue")?,
            reason: fields.needed_text("StateReason")?,
        }),
        "PutDashboard" => {
            let (name, body) = (fields.needed_text("DashboardName")?, fields.needed_text("DashboardBody")?);
            Call::PutDashboard(PutDashboard { name, body, tags: tags(&mut fields)? })
        }
        "GetDashboard" => Call::GetDashboard { name: fields.needed_text("DashboardName")? },
        "ListDashboards" => {
            let _token = fields.text("NextToken")?;
            Call::ListDashboards
        }
        "DeleteDashboards" => Call::DeleteDashboards { names: fields.texts("DashboardNames")? },
        "DescribeAlarms" => {
            let kinds = fields.texts("AlarmTypes")?;
            let largest = fields.integer("MaxRecords")?;
            Call::DescribeAlarms(DescribeAlarms {
                names: fields.texts("AlarmNames")?,
                name_prefix: fields.text("AlarmNamePrefix")?,
                state: fields.text("StateValue")?,
                max_records: largest.map(|largest| usize::try_from(largest).unwrap_or(0)),
                next_token: fields.text("NextToken")?,
                kinds,
            })
        }
        "DeleteAlarms" => Call::DeleteAlarms { names: fields.texts("AlarmNames")? },
        "ListTagsForResource" => Call::ListTagsForResource { arn: fields.needed_text("ResourceARN")? },
        other => return Err(Refusal::not_modelled(format!("cloudwatch:{other}"))),
    };
    fields.end()?;
    Ok(world::Call::CloudWatch(call))
}

fn query(value: Value) -> Result<MetricQuery, Refusal> {
    let mut fields = Fields::new("MetricDataQueries", value)?;
    let mut stat = Fields::new("MetricStat", fields.needed("MetricStat")?)?;
    let mut metric = Fields::new("Metric", stat.needed("Metric")?)?;
    let query = MetricQuery {
        id: fields.needed_text("Id")?,
        label: fields.text("Label")?,
        series: series(&mut metric)?,
        period_seconds: stat.needed_integer("Period")?,
        statistic: Statistic::parse(&stat.needed_text("Stat")?)?,
        unit: stat.text("Unit")?,
    };
    if fields.take("ReturnData").is_some_and(|wanted| wanted != Value::Bool(true)) {
        return Err(Refusal::not_modelled("MetricDataQueries with ReturnData = false"));
    }
    metric.end()?;
    stat.end()?;
    fields.end()?;
    Ok(query)
}

fn put_metric(namespace: &str, datum: Value) -> Result<PutMetric, Refusal> {
    let mut fields = Fields::new("MetricData", datum)?;
    let values = fields.numbers("Values")?;
    let counts = fields.numbers("Counts")?;
    let one = fields.number("Value")?.map(|value| (value, 1.0));
    let many = values.into_iter().zip(counts.into_iter().chain(std::iter::repeat(1.0)));
    let values = one.into_iter().chain(many).collect();
    let at = if fields.members.contains_key("Timestamp") { Some(fields.time("Timestamp")?) } else { None };
    let unit = fields.text("Unit")?;
    // A finer resolution is kept all the same.
    let _resolution = fields.integer("StorageResolution")?;
    fields.members.insert("Namespace".to_owned(), namespace.into());
    let series = series(&mut fields)?;
    fields.end()?;
    Ok(PutMetric { series, at, values, unit })
}

fn tags(fields: &mut Fields) -> Result<BTreeMap<String, String>, Refusal> {
    let mut tags = BTreeMap::new();
    for tag in fields.list("Tags")? {
        let mut tag = Fields::new("Tags", tag)?;
        tags.insert(tag.needed_text("Key")?, tag.needed_text("Value")?);
    }
    Ok(tags)
}

fn series(fields: &mut Fields) -> Result<Series, Refusal> {
    let mut dimensions = BTreeMap::new();
    for dimension in fields.list("Dimensions")? {
        let mut dimension = Fields::new("Dimensions", dimension)?;
        dimensions.insert(dimension.needed_text("Name")?, dimension.needed_text("Value")?);
    }
    Ok(Series {
        namespace: fields.needed_text("Namespace")?,
        name: fields.needed_text("MetricName")?,
        dimensions,
    })
}

fn alarm(fields: &mut Fields) -> Result<PutMetricAlarm, Refusal> {
    let tags = tags(fields)?;
    let threshold =
        fields.number("Threshold")?.ok_or_else(|| invalid("PutMetricAlarm needs Threshold".to_owned()))?;
    let statistic = match (fields.text("Statistic")?, fields.text("ExtendedStatistic")?) {
        (Some(word), None) | (None, Some(word)) => Statistic::parse(&word)?,
        _ => return Err(invalid("exactly one of Statistic and ExtendedStatistic is needed".to_owned())),
    };
    Ok(PutMetricAlarm {
        name: fields.needed_text("AlarmName")?,
        description: fields.text("AlarmDescription")?,
        actions_enabled: fields.take("ActionsEnabled") != Some(Value::Bool(false)),
        ok_actions: fields.texts("OKActions")?,
        alarm_actions: fields.texts("AlarmActions")?,
        insufficient_data_actions: fields.texts("InsufficientDataActions")?,
        series: series(fields)?,
        statistic,
        period_seconds: fields.needed_integer("Period")?,
        evaluation_periods: fields.needed_integer("EvaluationPeriods")?,
        datapoints_to_alarm: fields.integer("DatapointsToAlarm")?,
        threshold,
        comparison_operator: fields.needed_text("ComparisonOperator")?,
        treat_missing_data: fields.text("TreatMissingData")?,
        unit: fields.text("Unit")?,
        tags,
    })
}

/// The members of a map, taken out one by one, so that what is left is what the model doesn't know.
struct Fields {
    what: String,
    members: BTreeMap<String, Value>,
}

impl Fields {
    fn new(what: &str, value: Value) -> Result<Self, Refusal> {
        let Value::Map(pairs) = value else { return Err(unreadable(&format!("{what} is not a map"))) };
        let members = pairs
            .into_iter()
            .filter_map(|(key, value)| key.into_text().ok().map(|key| (key, value)))
            .collect();
        Ok(Self { what: what.to_owned(), members })
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    fn needed(&mut self, name: &str) -> Result<Value, Refusal> {
        self.take(name).ok_or_else(|| invalid(format!("{} needs {name}", self.what)))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let wrong = |value| invalid(format!("{name} {value:?} is not a string"));
        self.take(name).map(|value| value.into_text().map_err(wrong)).transpose()
    }

    fn needed_text(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| invalid(format!("{} needs {name}", self.what)))
    }

    fn integer(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| i64::try_from(number).ok());
        number.map(Some).ok_or_else(|| invalid(format!("{name} {value:?} is not a number")))
    }

    fn needed_integer(&mut self, name: &str) -> Result<i64, Refusal> {
        self.integer(name)?.ok_or_else(|| invalid(format!("{} needs {name}", self.what)))
    }

    fn number(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        self.take(name).map(|value| number(name, &value)).transpose()
    }

    fn numbers(&mut self, name: &str) -> Result<Vec<f64>, Refusal> {
        self.list(name)?.iter().map(|value| number(name, value)).collect()
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value>, Refusal> {
        let wrong = |value| invalid(format!("{name} {value:?} is not a list"));
        self.take(name).map_or(Ok(Vec::new()), |value| value.into_array().map_err(wrong))
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        let wrong = |value| invalid(format!("{name}: {value:?} is not a string"));
        self.list(name)?.into_iter().map(|value| value.into_text().map_err(wrong)).collect()
    }

    fn time(&mut self, name: &str) -> Result<Timestamp, Refusal> {
        let value = self.needed(name)?;
        let seconds = match &value {
            Value::Tag(1, inner) => match inner.as_ref() {
                Value::Float(seconds) => Some(*seconds),
                #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
                Value::Integer(seconds) => i64::try_from(*seconds).ok().map(|seconds| seconds as f64),
                _ => None,
            },
            _ => None,
        };
        #[expect(clippy::cast_possible_truncation, reason = "an absurd time becomes an absurd time")]
        let millis = seconds.map(|seconds| (seconds * 1000.0) as i64);
        millis
            .and_then(|millis| Timestamp::from_millisecond(millis).ok())
            .ok_or_else(|| invalid(format!("{name} {value:?} is not a timestamp")))
    }

    fn end(self) -> Result<(), Refusal> {
        match self.members.into_keys().next() {
            Some(name) => Err(Refusal::not_modelled(format!("the member {name} of {}", self.what))),
            None => Ok(()),
        }
    }
}

fn number(name: &str, value: &Value) -> Result<f64, Refusal> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Integer(number) => i32::try_from(*number)
            .map(f64::from)
            .map_err(|_| invalid(format!("{name} {value:?} is larger than this model's numbers"))),
        other => Err(invalid(format!("{name} {other:?} is not a number"))),
    }
}

fn unreadable(why: &str) -> Refusal {
    Refusal::new("SerializationException", format!("the AWS stand-in can't read the request: {why}"))
}

fn invalid(why: String) -> Refusal {
    Refusal::new("ValidationError", why)
}

/// A reply or an error as a body.
pub(super) fn encode(result: Result<world::Reply, Refusal>) -> Vec<u8> {
    let value = match result {
        Ok(world::Reply::CloudWatch(reply)) => value(reply),
        Ok(other) => error("InternalFailure", format!("not an answer of CloudWatch: {other:?}")),
        Err(refusal) => error(refusal.code, refusal.message),
    };
    let mut body = Vec::new();
    // Writing to memory can't fail, and every key is a string.
    let _written = ciborium::into_writer(&value, &mut body);
    body
}

fn error(code: &str, message: String) -> Value {
    map(vec![
        ("__type", Some(format!("com.amazonaws.cloudwatch#{code}").into())),
        ("message", Some(message.into())),
    ])
}

fn value(reply: Reply) -> Value {
    match reply {
        Reply::MetricData(results) => {
            map(vec![("MetricDataResults", Some(Value::Array(results.into_iter().map(result).collect())))])
        }
        Reply::Alarms(AlarmPage { alarms, composites, next_token }) => {
            let alarms = alarms.into_iter().map(alarm_value).collect();
            let composites = composites.into_iter().map(composite_value).collect();
            map(vec![
                ("MetricAlarms", Some(Value::Array(alarms))),
                ("CompositeAlarms", Some(Value::Array(composites))),
                ("NextToken", next_token.map(Value::from)),
            ])
        }
        Reply::Tags(tags) => {
            let tag = |(key, value): (String, String)| {
                map(vec![("Key", Some(key.into())), ("Value", Some(value.into()))])
            };
            map(vec![("Tags", Some(Value::Array(tags.into_iter().map(tag).collect())))])
        }
        Reply::Dashboard(Dashboard { arn, name, body, .. }) => map(vec![
            ("DashboardArn", Some(arn.into())),
            ("DashboardBody", Some(body.into())),
            ("DashboardName", Some(name.into())),
        ]),
        Reply::Dashboards(dashboards) => {
            let entry = |Dashboard { arn, name, .. }: Dashboard| {
                map(vec![("DashboardArn", Some(arn.into())), ("DashboardName", Some(name.into()))])
            };
            let entries = dashboards.into_iter().map(entry).collect();
            map(vec![("DashboardEntries", Some(Value::Array(entries)))])
        }
        Reply::DashboardValidation(messages) => {
            let message = |(path, text): (String, String)| {
                map(vec![("DataPath", Some(path.into())), ("Message", Some(text.into()))])
            };
            let messages = messages.into_iter().map(message).collect();
            map(vec![("DashboardValidationMessages", Some(Value::Array(messages)))])
        }
        Reply::Done => map(Vec::new()),
    }
}

fn result(result: MetricResult) -> Value {
    let MetricResult { id, label, points } = result;
    map(vec![
        ("Id", Some(id.into())),
        ("Label", Some(label.into())),
        ("Timestamps", Some(Value::Array(points.iter().map(|point| time(point.at)).collect()))),
        ("Values", Some(Value::Array(points.iter().map(|point| point.value.into()).collect()))),
        ("StatusCode", Some("Complete".into())),
    ])
}

fn composite_value(alarm: Composite) -> Value {
    let texts = |all: Vec<String>| Some(Value::Array(all.into_iter().map(Value::from).collect()));
    map(vec![
        ("AlarmName", Some(alarm.settings.name.into())),
        ("AlarmArn", Some(alarm.arn.into())),
        ("AlarmDescription", alarm.settings.description.map(Value::from)),
        ("AlarmRule", Some(alarm.settings.rule.into())),
        ("AlarmConfigurationUpdatedTimestamp", Some(time(alarm.configured))),
        ("ActionsEnabled", Some(alarm.settings.actions_enabled.into())),
        ("AlarmActions", texts(alarm.settings.alarm_actions)),
        ("StateValue", Some(alarm.state.into())),
        ("StateReason", Some(alarm.state_reason.into())),
        ("StateUpdatedTimestamp", Some(time(alarm.state_updated))),
        ("StateTransitionedTimestamp", Some(time(alarm.state_updated))),
    ])
}

fn alarm_value(alarm: Alarm) -> Value {
    let Alarm { arn, settings, tags: _, state, state_reason, state_updated, configured } = alarm;
    let texts = |all: Vec<String>| Some(Value::Array(all.into_iter().map(Value::from).collect()));
    let dimension = |(name, value): (String, String)| {
        map(vec![("Name", Some(name.into())), ("Value", Some(value.into()))])
    };
    let dimensions = settings.series.dimensions.into_iter().map(dimension).collect();
    let statistic = match settings.statistic {
        Statistic::Percentile(_) => "ExtendedStatistic",
        _ => "Statistic",
    };
    map(vec![
        ("AlarmName", Some(settings.name.into())),
        ("AlarmArn", Some(arn.into())),
        ("AlarmDescription", settings.description.map(Value::from)),
        ("AlarmConfigurationUpdatedTimestamp", Some(time(configured))),
        ("ActionsEnabled", Some(settings.actions_enabled.into())),
        ("OKActions", texts(settings.ok_actions)),
        ("AlarmActions", texts(settings.alarm_actions)),
        ("InsufficientDataActions", texts(settings.insufficient_data_actions)),
        ("StateValue", Some(state.into())),
        ("StateReason", Some(state_reason.into())),
        ("StateUpdatedTimestamp", Some(time(state_updated))),
        ("StateTransitionedTimestamp", Some(time(state_updated))),
        ("MetricName", Some(settings.series.name.into())),
        ("Namespace", Some(settings.series.namespace.into())),
        (statistic, Some(settings.statistic.word().into())),
        ("Dimensions", Some(Value::Array(dimensions))),
        ("Period", Some(settings.period_seconds.into())),
        ("Unit", settings.unit.map(Value::from)),
        ("EvaluationPeriods", Some(settings.evaluation_periods.into())),
        ("DatapointsToAlarm", settings.datapoints_to_alarm.map(Value::from)),
        ("Threshold", Some(settings.threshold.into())),
        ("ComparisonOperator", Some(settings.comparison_operator.into())),
        ("TreatMissingData", settings.treat_missing_data.map(Value::from)),
    ])
}

fn time(at: Timestamp) -> Value {
    Value::Tag(1, Box::new(Value::Float(at.as_duration().as_secs_f64())))
}

fn map(members: Vec<(&str, Option<Value>)>) -> Value {
    let present =
        members.into_iter().filter_map(|(name, value)| value.map(|value| (Value::from(name), value)));
    Value::Map(present.collect())
}
