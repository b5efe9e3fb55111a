//! The comments of a `WordPress` export through the running program, as visitors would write them.

use crate::support::program::Installation;
use crate::support::testdata;

#[path = "../../../examples/conversation.rs"]
#[expect(dead_code, reason = "the example's own main is not used here")]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_conversation_reads_back_as_it_was() {
    let Some(xml) = testdata::read("wxr/a11y-unit-test-data.xml") else { return };
    let installation = Installation::new().set("limits__max_depth", "10").set("limits__enabled", "false");
    let running = installation.start();
    let token = installation.token("moderator");
    let comments = example::read(&xml).unwrap();
    let with_email = comments.iter().filter(|comment| !comment.email.trim().is_empty()).count();
    let outcome = example::hold(&running.url, &token, &comments).await.unwrap();
    assert_eq!((comments.len(), outcome.taken, outcome.refused.len()), (29, with_email, 5), "{outcome:?}");
    for (id, fields) in &outcome.refused {
        assert!(fields.split(' ').any(|field| field == "email"), "comment {id}: {fields}");
    }
    assert!(outcome.articles >= 4);
}
