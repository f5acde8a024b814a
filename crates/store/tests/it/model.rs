//! A random sequence of batches has equal results on a model in memory, on SQLite and on PostgreSQL.

use crate::harness::*;
use chancery_store::db::Options;
use chancery_store::{Batch, Db, Expect, Outcome, Sql, Statement};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

/// One step of a batch, over a few keys so that steps meet.
#[derive(Clone, Copy, Debug)]
enum Step {
    InsertItem(u8, u8),
    UpdateItem(u8, u8, i64),
    InsertCode(u8),
    ConsumeCode(u8),
}

#[derive(Clone, Debug)]
struct Plan {
    guards: Vec<(u8, u8, i64)>,
    steps: Vec<Step>,
    branch: Option<(&'static str, Vec<Step>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    items: BTreeMap<(u8, u8), (i64, String)>,
    codes: BTreeMap<String, bool>,
}

#[test]
fn random_batches_have_equal_results_on_all_engines() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sqlite_place = TestDb::sqlite();
    let sqlite = runtime.block_on(sqlite_place.open(Options::default()));
    let postgres_place = runtime.block_on(TestDb::postgres());
    let mut engines = vec![sqlite];
    if let Some(place) = &postgres_place {
        engines.push(runtime.block_on(place.open(Options::default())));
    }

    let config = Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
    .run(&prop::collection::vec(plan(), 1..25), |plans| {
        runtime.block_on(async {
            for engine in &engines {
                must(engine, clear()).await;
            }
            let mut model = Model::default();
            for plan in &plans {
                let expected = model.apply(plan);
                for engine in &engines {
                    let outcome = engine.commit(plan.batch()).await.unwrap();
                    prop_assert_eq!(outcome, expected, "{:?} {:?}", engine.engine(), plan);
                    prop_assert_eq!(&read(engine).await, &model, "{:?}", engine.engine());
                }
            }
            Ok(())
        })
    })
    .unwrap();
    drop(engines);
    if let Some(place) = postgres_place {
        runtime.block_on(place.drop_database());
    }
}

impl Step {
    fn statement(self) -> Statement {
        match self {
            Self::InsertItem(of, id) => insert_item(tenant(of), agent(id), "new", Expect::Unique),
            Self::UpdateItem(of, id, version) => update_item(tenant(of), agent(id), version, "updated"),
            Self::InsertCode(code) => insert_code(&code.to_string()),
            Self::ConsumeCode(code) => consume_code(&code.to_string()),
        }
    }
}

impl Plan {
    fn batch(&self) -> Batch {
        let mut made = batch().extend(self.steps.iter().map(|step| step.statement()));
        for (of, id, version) in &self.guards {
            made = made.guard(guard_item(tenant(*of), agent(*id), *version));
        }
        if let Some((label, steps)) = &self.branch {
            made = made.or_else(label, steps.iter().map(|step| step.statement()).collect());
        }
        made
    }
}

impl Model {
    fn apply(&mut self, plan: &Plan) -> Outcome {
        let before = self.clone();
        let guard_holds = |(of, id, version): &(u8, u8, i64)| {
            self.items.get(&(*of, *id)).is_some_and(|item| item.0 == *version)
        };
        let (position, label, guard) = match plan.guards.iter().position(|guard| !guard_holds(guard)) {
            None => match plan.steps.iter().enumerate().find(|(_, step)| !self.step(**step)) {
                None => return Outcome::Committed,
                Some((position, step)) => (position, step.statement().label, false),
            },
            Some(position) => (position, "item is current", true),
        };
        *self = before.clone();
        let recorded = match &plan.branch {
            Some((name, steps)) if *name == label => steps.iter().all(|step| self.step(*step)),
            _ => false,
        };
        if !recorded {
            *self = before;
        }
        Outcome::Refused {
            label,
            guard,
            position,
            recorded,
        }
    }

    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::InsertItem(of, id) => {
                let is_new = !self.items.contains_key(&(of, id));
                self.items.entry((of, id)).or_insert((0, "new".to_owned()));
                is_new
            }
            Step::UpdateItem(of, id, version) => match self.items.get_mut(&(of, id)) {
                Some(item) if item.0 == version => {
                    *item = (version + 1, "updated".to_owned());
                    true
                }
                _ => false,
            },
            Step::InsertCode(code) => {
                let is_new = !self.codes.contains_key(&code.to_string());
                self.codes.entry(code.to_string()).or_insert(false);
                is_new
            }
            Step::ConsumeCode(code) => self
                .codes
                .get_mut(&code.to_string())
                .is_some_and(|used| !std::mem::replace(used, true)),
        }
    }
}

async fn read(db: &Db) -> Model {
    let mut model = Model::default();
    for of in 0..KEYS {
        for (id, version, state) in items(db, tenant(of)).await {
            let id = (0..KEYS).find(|number| agent(*number) == id).unwrap();
            model.items.insert((of, id), (version, state));
        }
    }
    for row in db.query(&CODES, vec![]).await.unwrap() {
        model.codes.insert(row.text(0).unwrap(), row.boolean(1).unwrap());
    }
    model
}

fn clear() -> Batch {
    let items = Sql::same("DELETE FROM items");
    let codes = Sql::same("DELETE FROM codes");
    batch()
        .push(Statement::new(&items, vec![], Expect::Any, "clear"))
        .push(Statement::new(&codes, vec![], Expect::Any, "clear"))
}

fn plan() -> impl Strategy<Value = Plan> {
    let guard = (0..KEYS, 0..KEYS, 0..2_i64);
    let branch = (
        prop::sample::select(vec![
            "insert item",
            "update item",
            "insert code",
            "consume code",
            "item is current",
        ]),
        prop::collection::vec(step(), 0..3),
    );
    (
        prop::collection::vec(guard, 0..2),
        prop::collection::vec(step(), 1..4),
        prop::option::of(branch),
    )
        .prop_map(|(guards, steps, branch)| Plan {
            guards,
            steps,
            branch,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..KEYS, 0..KEYS).prop_map(|(of, id)| Step::InsertItem(of, id)),
        (0..KEYS, 0..KEYS, 0..3_i64).prop_map(|(of, id, version)| Step::UpdateItem(of, id, version)),
        (0..KEYS).prop_map(Step::InsertCode),
        (0..KEYS).prop_map(Step::ConsumeCode),
    ]
}

/// How many tenants, agents and codes there are.
const KEYS: u8 = 3;
