//! Circuit breakers, by system: the one in trouble is left alone, its neighbours are not, and it is tried again.

use std::fs;

use crate::house::House;
use crate::scraped::Page;
use crate::shop::{THING, delete};

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_an_archives_store_opens_its_own_breaker_and_an_archive_closes_it() {
    let mut house = House::new().await;
    let page = Page::of(&mut house);
    house.change_settings("breaker_failures = 1000", "breaker_failures = 2");
    let cellar = house.folder().join("cellar");
    house.also_settings(&format!(
        "[systems.cellar]\nkind = \"archive\"\nfolder = {cellar:?}\nbreaker_failures = 2\nbreaker_pause = \"50ms\"\n"
    ));
    let archive = r#"
[[step]]
name = "keep"
archive = { rows = "select id from shop.things where id = :id", store = "cellar", to = "{tenant}/{id}" }

[[step]]
name  = "finish""#;
    house.plan("thing", &THING.replace("\n[[step]]\nname  = \"finish\"", archive));
    house.things(&["a", "b", "c"]).await;
    let worker = house.worker();
    let (of_the_cellar, of_the_shop) = (
        "sexton_breaker_open{system=\"cellar\"}",
        "sexton_breaker_open{system=\"shop\"}",
    );
    page.shows(of_the_cellar, 0).await;
    // A file where the folder was: each archive finds a store in trouble.
    fs::remove_dir_all(&cellar).expect("the folder that the worker made");
    fs::write(&cellar, "").expect("a file");

    for id in ["a", "b", "c"] {
        house.publish(delete(id)).await;
    }
    page.shows(of_the_cellar, 1).await;
    house
        .until(
            "it is tried again and again after its pause",
            "select count(*) >= 5 from sexton.journal, jsonb_array_elements(entries::jsonb) e
             where e->>'e' = 'verdict' and e->'verdict'->>'is' = 'again'",
        )
        .await;
    assert_eq!(
        page.number(of_the_shop).await,
        Some(0),
        "the rows' database is well"
    );
    assert_eq!(page.number(of_the_cellar).await, Some(1));

    fs::remove_file(&cellar).expect("the file");
    fs::create_dir(&cellar).expect("the folder");
    for id in ["a", "b", "c"] {
        assert_eq!(
            house.heard.end(&format!("k-{id}")).await.detail("result"),
            Some("deleted")
        );
    }
    page.shows(of_the_cellar, 0).await;
    worker.stop().await;
}
