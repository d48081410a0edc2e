mod plan_errors;
mod plan_rules;
mod plans;
