//! Factory computers, served: terminal, and a 500 that names the deletion where it cannot say "gone".

use super::sessions::error;
use super::{bearer, delete};
use crate::computers::factory;

#[tokio::test(flavor = "multi_thread")]
async fn a_computer_is_gone_by_204_or_it_is_told_why_not() {
    let mut factory = factory().await;
    let front = factory.house.front("wait = \"2s\"");
    let (ours, theirs) = (
        bearer(&factory.house.key("org_1", &["--dialect", "factory"])),
        bearer(&factory.house.key("org_2", &["--dialect", "factory"])),
    );
    let worker = factory.house.worker();
    front.is_open().await;
    let path = |id: &str| format!("/api/v0/computers/{id}");
    let auth = [("authorization", ours.as_str())];
    assert_eq!(delete(&front, &path("m"), &[]).await.status, 401);
    let other = delete(&front, &path("m"), &[("authorization", theirs.as_str())]).await;
    let nobody = delete(&front, &path("nobody"), &auth).await;
    assert_eq!(
        (other.status, &other.text),
        (404, &nobody.text),
        "another organization's is like none"
    );
    error(&nobody);

    for id in ["m", "own"] {
        let done = delete(&front, &path(id), &auth).await;
        assert_eq!((done.status, done.text.as_str()), (204, ""), "{id}");
        let again = delete(&front, &path(id), &auth).await;
        assert_eq!(again.status, 204, "while its tombstone stands");
    }
    assert!(
        factory
            .is("select bool_and(deleted_at is not null) from computers where id in ('m', 'own')")
            .await
    );
    factory
        .house
        .sql("update sexton.deletions set ended_at = ended_at - interval '31 days'")
        .await;
    assert_eq!(
        delete(&front, &path("own"), &auth).await.status,
        404,
        "after its tombstone"
    );

    // Still provisioning: its machine is not known yet, so it is not gone, and nobody is told that it is.
    let late = delete(&front, &path("late"), &auth).await;
    assert_eq!(late.status, 500, "{}", late.text);
    let id = error(&late)["metadata"]["deletionId"]
        .as_str()
        .expect("the deletion")
        .to_owned();
    let native = factory.house.key("org_1", &[]);
    let seen = front.get(&format!("/v1/deletions/{id}"), &native).await.json();
    assert_eq!(seen["target"]["id"], "late", "{seen}");
    sqlx::query("update computers set provider_id = 'i-late' where id = 'late'")
        .execute(&factory.platform)
        .await
        .expect("it comes to light");
    let joined = delete(&front, &path("late"), &auth).await;
    assert_eq!(joined.status, 204, "asking again joins it: {}", joined.text);
    factory.house.everything_is_over().await;
    worker.stop().await;
}
