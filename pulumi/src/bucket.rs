//! Buckets for what services of AWS write: private, encrypted, versioned, emptied with the environment.

use serde_json::{Value, json};

use crate::aws::s3;
use crate::names::{
    BUCKET, BUCKET_ENCRYPTION, BUCKET_LIFECYCLE, BUCKET_OWNERSHIP, BUCKET_POLICY, BUCKET_PUBLIC_ACCESS,
    BUCKET_VERSIONING,
};
use crate::pulumi::{Output, Resource};
use crate::scope::Scope;

/// What encrypts a bucket.
pub enum Encryption {
    /// A key of ours, by its ARN.
    Key(Output<String>),
    /// S3's own key: a load balancer can write to no other bucket.
    S3,
}

/// A bucket, and what must stand before anybody writes to it.
pub struct Bucket {
    /// Its name in AWS. It has the account's number in it, since the names of buckets are the whole world's.
    pub name: Output<String>,
    /// Who may write, and all else that was said of it.
    pub ready: Vec<Resource>,
}

/// Makes one. `statements` says who may write, given the bucket's ARN and the account.
pub fn new(
    scope: &Scope,
    part: &str,
    encryption: Encryption,
    statements: impl FnOnce(&str, &str) -> Vec<Value> + Send + 'static,
) -> Bucket {
    let logical = scope.part(&BUCKET, part);
    let (word, suffix) = (format!("{}-{part}", BUCKET.word), scope.config().suffix.clone());
    let args = s3::BucketArgs::new()
        .bucket(scope.account().map(move |account| format!("{word}-{account}-{suffix}")))
        .force_destroy(true)
        .object_lock_enabled(false)
        .tags(scope.tags(&logical));
    let bucket = s3::Bucket::new(scope.context(), &logical, args, scope.named());

    let required = s3::BucketPublicAccessBlockRequired { bucket: bucket.id().into() };
    let args = s3::BucketPublicAccessBlockArgs::new(required)
        .block_public_acls(true)
        .block_public_policy(true)
        .ignore_public_acls(true)
        .restrict_public_buckets(true);
    let closed = s3::BucketPublicAccessBlock::new(
        scope.context(),
        &scope.part(&BUCKET_PUBLIC_ACCESS, part),
        args,
        scope.options(),
    );

    let rule = s3::types::BucketOwnershipControlsRule::new(s3::types::BucketOwnershipControlsRuleRequired {
        object_ownership: "BucketOwnerEnforced".into(),
    });
    let required = s3::BucketOwnershipControlsRequired { bucket: bucket.id().into(), rule: rule.into() };
    let owned = s3::BucketOwnershipControls::new(
        scope.context(),
        &scope.part(&BUCKET_OWNERSHIP, part),
        s3::BucketOwnershipControlsArgs::new(required),
        scope.options(),
    );

    let policy = bucket.arn().zip(scope.account()).map(move |(arn, account)| {
        let mut all = statements(&arn, &account);
        all.push(json!({
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, format!("{arn}/*")],
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        }));
        json!({ "Version": "2012-10-17", "Statement": all }).to_string()
    });
    let required = s3::BucketPolicyRequired { bucket: bucket.id().into(), policy: policy.into() };
    // S3 takes one change to a bucket's access at a time.
    let options = scope.options().after([closed.resource(), owned.resource()]);
    let allowed = s3::BucketPolicy::new(
        scope.context(),
        &scope.part(&BUCKET_POLICY, part),
        s3::BucketPolicyArgs::new(required),
        options,
    );
    let encrypted = encrypt(scope, part, &bucket, encryption);
    keep(scope, part, &bucket);
    Bucket { name: bucket.bucket(), ready: vec![allowed.resource().clone(), encrypted.resource().clone()] }
}

fn encrypt(
    scope: &Scope,
    part: &str,
    bucket: &s3::Bucket,
    encryption: Encryption,
) -> s3::BucketServerSideEncryptionConfiguration {
    use s3::types::{
        BucketServerSideEncryptionConfigurationRule as Rule,
        BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefault as Default,
        BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultRequired as Required,
    };
    let (algorithm, key) = match encryption {
        Encryption::Key(key) => ("aws:kms", Some(key)),
        Encryption::S3 => ("AES256", None),
    };
    let mut default = Default::new(Required { sse_algorithm: algorithm.into() });
    if let Some(key) = &key {
        default = default.kms_master_key_id(key);
    }
    let rule = Rule::new().apply_server_side_encryption_by_default(default).bucket_key_enabled(key.is_some());
    let args = s3::BucketServerSideEncryptionConfigurationArgs::new(
        s3::BucketServerSideEncryptionConfigurationRequired {
            bucket: bucket.id().into(),
            rules: vec![rule].into(),
        },
    );
    let name = scope.part(&BUCKET_ENCRYPTION, part);
    s3::BucketServerSideEncryptionConfiguration::new(scope.context(), &name, args, scope.options())
}

/// Versions, so that what was written can't be overwritten; and as many days as logs have.
fn keep(scope: &Scope, part: &str, bucket: &s3::Bucket) {
    let enabled = s3::types::BucketVersioningVersioningConfiguration::new(
        s3::types::BucketVersioningVersioningConfigurationRequired { status: "Enabled".into() },
    );
    let required =
        s3::BucketVersioningRequired { bucket: bucket.id().into(), versioning_configuration: enabled.into() };
    let versioned = s3::BucketVersioning::new(
        scope.context(),
        &scope.part(&BUCKET_VERSIONING, part),
        s3::BucketVersioningArgs::new(required),
        scope.options(),
    );
    let days = i64::from(scope.config().log_days);
    let rule = s3::types::BucketLifecycleConfigurationRule::new(
        s3::types::BucketLifecycleConfigurationRuleRequired {
            id: "retention".into(),
            status: "Enabled".into(),
        },
    )
    .filter(s3::types::BucketLifecycleConfigurationRuleFilter::new().prefix(""))
    .expiration(s3::types::BucketLifecycleConfigurationRuleExpiration::new().days(days))
    .noncurrent_version_expiration(
        s3::types::BucketLifecycleConfigurationRuleNoncurrentVersionExpiration::new(
            s3::types::BucketLifecycleConfigurationRuleNoncurrentVersionExpirationRequired {
                noncurrent_days: 30.into(),
            },
        ),
    )
    .abort_incomplete_multipart_upload(
        s3::types::BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload::new()
            .days_after_initiation(7),
    );
    let args = s3::BucketLifecycleConfigurationArgs::new(s3::BucketLifecycleConfigurationRequired {
        bucket: bucket.id().into(),
    })
    .rules(vec![rule]);
    let options = scope.options().after([versioned.resource()]);
    s3::BucketLifecycleConfiguration::new(
        scope.context(),
        &scope.part(&BUCKET_LIFECYCLE, part),
        args,
        options,
    );
}
