//! Tests of the order of fields, of errors, and of fields that wait.

use async_graphql::{
    EmptyMutation, EmptySubscription, Object, Request, Schema, SimpleObject, Union,
};
use serde_json::{Value, json};
use tokio::task::yield_now;

use super::{super::json, List, Root, RootFields, complete_root, merged};

/// An object with fields of all kinds.
#[derive(Clone, Copy)]
struct Thing(i32);

#[Object(crate = "crate::graphql::executor")]
impl Thing {
    async fn ready(&self) -> i32 {
        self.0
    }

    async fn waits(&self) -> i32 {
        for _ in 0..self.0 {
            yield_now().await;
        }
        self.0
    }

    async fn fails(&self) -> async_graphql::Result<i32> {
        yield_now().await;
        Err("failed".into())
    }

    async fn fails_alone(&self) -> async_graphql::Result<Option<i32>> {
        Err("failed alone".into())
    }

    async fn same(&self) -> Self {
        *self
    }

    async fn nullable(&self) -> Option<Self> {
        Some(*self)
    }

    async fn three(&self) -> List<Self> {
        List(vec![Self(3), Self(2), Self(1)])
    }

    async fn any(&self) -> Any {
        Any::Other(Other { ready: self.0 })
    }
}

#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
struct Other {
    ready: i32,
}

#[derive(Union)]
#[graphql(crate = "crate::graphql::executor")]
enum Any {
    Thing(Thing),
    Other(Other),
}

merged! {
    pub struct Query(Things, Mixed);
}

#[derive(Default)]
pub struct Things;

#[Object]
impl Things {
    async fn thing(&self) -> Option<Thing> {
        yield_now().await;
        Some(Thing(4))
    }

    async fn required(&self) -> Thing {
        Thing(2)
    }

    async fn fails(&self) -> async_graphql::Result<Option<i32>> {
        Err("failed".into())
    }
}

#[derive(Default)]
pub struct Mixed;

#[Object]
impl Mixed {
    async fn any(&self) -> Any {
        Any::Thing(Thing(1))
    }
}

/// Returns the response as text, since the order of its fields matters.
async fn execute(query: &str) -> String {
    let mut request = Request::new(query);
    let schema = Schema::new(Root::<Query>::default(), EmptyMutation, EmptySubscription);
    let root = RootFields::of(&mut request);
    let mut response = schema.execute(request).await;
    complete_root(&mut response, &root);
    for error in &mut response.errors {
        error.locations.clear();
    }
    let mut data = Vec::new();
    let Ok(()) = json::write(&mut data, &response.data);
    let (data, errors) = (String::from_utf8(data).unwrap(), json!(response.errors));
    format!(r#"{{"data":{data},"errors":{errors}}}"#)
}

#[tokio::test]
async fn fields_are_in_the_order_of_the_query() {
    let query =
        "{ b: required { waits ready } fails a: thing { x: waits ready __typename ...More } }
        fragment More on Thing { ... { z: waits } three { waits } y: ready }";
    let response = execute(query).await;
    let data = r#"{"data":{"b":{"waits":2,"ready":2},"fails":null,"a":{"x":4,"ready":4,"__typename":"Thing","z":4,"three":[{"waits":3},{"waits":2},{"waits":1}],"y":4}}"#;
    assert!(response.starts_with(data), "{response}");
}

#[tokio::test]
async fn fields_that_are_selected_twice_are_merged() {
    let query = "{ thing { same { ready } three { ready } same { w: waits } three { w: waits } } }";
    let data = r#"{"data":{"thing":{"same":{"ready":4,"w":4},"three":[{"ready":3,"w":3},{"ready":2,"w":2},{"ready":1,"w":1}]}},"errors":[]}"#;
    assert_eq!(execute(query).await, data);
}

#[tokio::test]
async fn a_name_is_written_once_in_an_object() {
    let query = "{ thing { x: ready x: ready y: same { ready }
        ... on Thing { x: same { ready } y: ready } } }";
    let data = r#"{"data":{"thing":{"x":4,"y":{"ready":4}}},"errors":[]}"#;
    assert_eq!(execute(query).await, data);
}

#[tokio::test]
async fn fragments_apply_to_the_object_in_a_union() {
    let query =
        "{ any { __typename ... on Other { ready } ... on Thing { w: waits any { ...Both } } } }
        fragment Both on Any { __typename ... on Other { ready } }";
    let data = r#"{"data":{"any":{"__typename":"Thing","w":1,"any":{"__typename":"Other","ready":1}}},"errors":[]}"#;
    assert_eq!(execute(query).await, data);
}

#[tokio::test]
async fn an_error_makes_the_nearest_nullable_parent_null() {
    let cases = [
        ("{ thing { failsAlone } }", json!({ "thing": { "failsAlone": null } })),
        ("{ thing { ready fails } }", json!({ "thing": null })),
        ("{ required { ready } thing { same { fails } } }", {
            json!({ "required": { "ready": 2 }, "thing": null })
        }),
        ("{ thing { three { fails } } }", json!({ "thing": null })),
        ("{ thing { any: nullable { ready } any: nullable { fails } } }", {
            json!({ "thing": { "any": null } })
        }),
        ("{ thing { any: nullable { fails } any: nullable { ready } } }", {
            json!({ "thing": { "any": null } })
        }),
        ("{ thing { ready } required { fails } }", Value::Null),
        ("{ required { three { same { fails } } } }", Value::Null),
        ("{ fails }", json!({ "fails": null })),
    ];
    for (query, data) in cases {
        let response = serde_json::from_str::<Value>(&execute(query).await).unwrap();
        assert_eq!(response["data"], data, "{query}: {response}");
        assert_eq!(response["errors"].as_array().map(Vec::len), Some(1), "{query}: {response}");
    }
}

#[tokio::test]
async fn an_error_has_the_path_of_the_field_that_failed() {
    let response = execute("{ required { s: three { same { f: fails } } } }").await;
    let response = serde_json::from_str::<Value>(&response).unwrap();
    assert_eq!(response["errors"][0]["path"], json!(["required", "s", 0, "same", "f"]));
}
