//! The command's answers.

use super::*;

#[test]
fn the_committed_schema_is_the_types_own() {
    let generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let schema = generator.into_root_schema_for::<document::Document>().to_value();
    crate::test_support::check_generated("scan.schema.json", &schema);
}
