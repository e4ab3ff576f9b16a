use std::time::Instant;

use super::*;
use crate::event::baseline::{Because, Change, Difference};
use crate::proof::inventory::store::{DATABASE, Store};

/// A machine below a directory, and the sensor's state beside it.
struct Place {
    root: tempfile::TempDir,
    state: tempfile::TempDir,
    boot: &'static str,
}

impl Place {
    fn new() -> Self {
        let place =
            Self { root: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap(), boot: "one" };
        std::fs::create_dir_all(place.root.path().join("etc/systemd/system")).unwrap();
        place.unit("a.service");
        place
    }

    fn unit(&self, name: &str) {
        let path = self.root.path().join("etc/systemd/system").join(name);
        std::fs::write(path, "[Service]\nExecStart=/bin/true\n").unwrap();
    }

    fn start(&self) -> Inventory {
        let mut config = Config::default();
        config.inventory.directory = self.state.path().to_owned();
        let root: &'static str = Box::leak(self.root.path().to_str().unwrap().to_owned().into_boxed_str());
        Inventory::new(&config, root, self.boot)
    }
}

async fn batch(inventory: &mut Inventory) -> Batch {
    tokio::time::timeout(Duration::from_secs(20), inventory.told()).await.expect("a batch within 20 s")
}

/// All that is told up to the first comparison, which is confirmed.
async fn compared(inventory: &mut Inventory) -> Vec<Baseline> {
    let mut records = Vec::new();
    loop {
        records.extend(batch(inventory).await.records);
        if matches!(records.last(), Some(Baseline::Begun(_) | Baseline::Compared(_))) {
            inventory.confirm();
            return records;
        }
    }
}

fn differences(records: &[Baseline]) -> Vec<&Difference> {
    let mut found = Vec::new();
    for record in records {
        if let Baseline::Difference(difference) = record {
            found.push(&**difference);
        }
    }
    found
}

#[tokio::test]
async fn what_is_planted_between_two_lives_is_told_once() {
    let mut place = Place::new();
    let mut first = place.start();
    assert!(matches!(&*compared(&mut first).await, [Baseline::Begun(begun)] if begun.entries == 1));
    first.end();
    place.unit("evil.service");
    place.boot = "two";
    let mut second = place.start();
    let records = compared(&mut second).await;
    let [planted] = *differences(&records) else { panic!("{records:?}") };
    assert_eq!((planted.change, planted.name.as_str()), (Change::Added, "evil.service"));
    assert!(matches!(planted.because, Because::Away { clean: true, rebooted: true, .. }), "{planted:?}");
    second.end();
    let records = compared(&mut place.start()).await;
    assert_eq!(differences(&records), Vec::<&Difference>::new());
}

#[tokio::test]
async fn what_was_not_confirmed_is_told_again() {
    let place = Place::new();
    let mut first = place.start();
    compared(&mut first).await;
    first.end();
    place.unit("evil.service");
    let mut killed = place.start();
    while !matches!(batch(&mut killed).await.records.last(), Some(Baseline::Compared(_))) {}
    // Its alerts did not leave.
    killed.end();
    let records = compared(&mut place.start()).await;
    assert_eq!(differences(&records).len(), 1, "{records:?}");
}

#[tokio::test]
async fn after_a_loss_what_nobody_told_is_told() {
    let place = Place::new();
    let mut inventory = place.start();
    compared(&mut inventory).await;
    place.unit("told.service");
    place.unit("missed.service");
    let told = place.root.path().join("etc/systemd/system/told.service");
    assert!(told.exists());
    let by = By { process: "vi".to_owned(), user: "root".to_owned(), alert: "7".to_owned() };
    inventory.order(Order::Touched { path: b"/etc/systemd/system/told.service".to_vec(), by: by.clone() });
    inventory.order(Order::Lost { since_ns: 5 });
    let records = {
        // Two looks are half a minute apart.
        let told = tokio::time::timeout(Duration::from_secs(60), inventory.told()).await.unwrap();
        inventory.confirm();
        told.records
    };
    let [missed] = *differences(&records) else { panic!("{records:?}") };
    assert_eq!(missed.name, "missed.service");
    assert!(matches!(missed.because, Because::Loss { since_ns: 5, .. }));
    inventory.end();
    let store = Store::open_to_read(place.state.path()).unwrap();
    assert_eq!(store.named("told.service").unwrap()[0].changed_by, Some(by));
    assert_eq!(store.named("missed.service").unwrap()[0].changed_by, None);
}

#[tokio::test]
async fn a_locked_or_edited_inventory_is_said_and_holds_nobody_up() {
    let place = Place::new();
    let mut inventory = place.start();
    compared(&mut inventory).await;
    inventory.end();
    let other = rusqlite::Connection::open(place.state.path().join(DATABASE)).unwrap();
    other.execute_batch("UPDATE entry SET name = 'x'; BEGIN EXCLUSIVE").unwrap();
    let mut locked = place.start();
    let began = Instant::now();
    for _ in 0..3 * ORDERS_MAX {
        locked.lost(1);
    }
    assert!(began.elapsed() < Duration::from_millis(500), "the loop waits for nobody: {:?}", began.elapsed());
    let records = batch(&mut locked).await.records;
    assert!(matches!(&*records, [Baseline::Unavailable { why }] if why.contains("lock")), "{records:?}");
    locked.end();
    other.execute_batch("ROLLBACK").unwrap();
    let records = compared(&mut place.start()).await;
    assert!(matches!(&records[0], Baseline::Tampered { how } if how.contains("sealed")), "{records:?}");
}
