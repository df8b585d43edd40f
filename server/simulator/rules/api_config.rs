use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Variants of the answers to requests for rules. X documents one; the others are those of its older and sister products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesApiConfig {
    /// Where an answer has its rules.
    pub envelope: RuleEnvelope,
    /// Form of the deleted rules in an answer.
    pub deleted: DeletedForm,
    /// Form of ids.
    pub ids: RuleIdForm,
    /// Status of an answer with added rules (201: Powerstream introduction; filtered stream has 200 too).
    pub added_status: u16,
    /// What becomes of a request with an invalid rule.
    pub invalid: InvalidRules,
    /// Status of an answer that refuses rules (422: PowerTrack; filtered stream: 400, 200).
    pub invalid_status: u16,
    /// Body of an answer that refuses rules.
    pub errors: RuleErrorEnvelope,
    /// Answer for a rule whose value exists.
    pub duplicates: DuplicateAnswer,
    /// Values are stored and returned without leading and trailing white space.
    pub trim_values: bool,
    /// Rate limit headers of answers.
    pub rate_limit_headers: RateLimitHeaders,
}

impl Default for RulesApiConfig {
    fn default() -> Self {
        Self {
            envelope: RuleEnvelope::default(),
            deleted: DeletedForm::default(),
            ids: RuleIdForm::default(),
            added_status: 201,
            invalid: InvalidRules::default(),
            invalid_status: 422,
            errors: RuleErrorEnvelope::default(),
            duplicates: DuplicateAnswer::default(),
            trim_values: false,
            rate_limit_headers: RateLimitHeaders::default(),
        }
    }
}

/// Where an answer has its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleEnvelope {
    /// `data.rules[]` (Powerstream).
    #[default]
    DataRules,
    /// `data[]` and `meta.summary` (filtered stream).
    Data,
    /// `summary` and `detail[].rule`; a list has `rules[]` (PowerTrack).
    Detail,
}

/// Form of the deleted rules in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeletedForm {
    /// `deleted` and `not_deleted` are numbers.
    #[default]
    Counts,
    /// They are lists of rules.
    Lists,
}

/// Form of ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleIdForm {
    /// `"1"`.
    #[default]
    Text,
    /// `1`.
    Number,
}

/// What becomes of a request with an invalid rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvalidRules {
    /// The whole request is refused, and the answer names the invalid rules.
    #[default]
    RefuseAll,
    /// The whole request is refused, and the answer names no rule.
    RefuseAllUnnamed,
    /// The other rules are added, and the answer names the invalid ones.
    RefuseInvalid,
    /// The other rules are added, and the answer has only these.
    DropInvalid,
}

/// Body of an answer that refuses rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleErrorEnvelope {
    /// `summary` and `detail[]` with all rules, a message at the invalid ones (PowerTrack 2.0).
    #[default]
    Summary,
    /// `error.detail[]` with the invalid rules (PowerTrack 2.0, early).
    ErrorDetail,
    /// `error.message` alone (PowerTrack 1.0).
    ErrorMessage,
    /// `meta.summary` and `errors[].details` (filtered stream).
    Errors,
}

/// Answer for a rule whose value exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateAnswer {
    /// The other rules are added; the answer names the duplicate and its id.
    #[default]
    WithId,
    /// The other rules are added; the answer names the duplicate without its id.
    WithoutId,
    /// The whole request is refused, with the status and body of invalid rules.
    Refused,
}

/// Rate limit headers of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateLimitHeaders {
    /// `x-rate-limit-limit`, `-remaining` and `-reset`.
    #[default]
    All,
    /// Without `-reset`.
    WithoutReset,
    /// None.
    Absent,
}
