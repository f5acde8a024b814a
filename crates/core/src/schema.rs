//! How the types that are written as plain text or numbers appear in OpenAPI. Only with the feature `schema`.

use crate::authorization_details::DetailType;
use crate::glob::{Glob, PathGlob};
use crate::name::Name;
use crate::resource::Entry;
use crate::scope::{Authority, Scope, ScopeSet};
use crate::time::{Timestamp, Ttl};
use crate::upstream::UpstreamUrl;
use crate::uri::ResourceUri;
use std::borrow::Cow;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaFormat, Type,
};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! plain {
    ($type:ty, $name:literal, $builder:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::from($builder))
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

plain!(
    Name,
    "Name",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[a-z0-9][a-z0-9._:@/-]{0,127}$"))
        .description(Some("unique in the tenant for its kind, never reused"))
);
plain!(
    Scope,
    "Scope",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("a scope token (RFC 6749 §3.3)"))
);
plain!(
    DetailType,
    "DetailType",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("a type of authorization details (RFC 9396 §2.1)"))
);
plain!(
    ResourceUri,
    "ResourceUri",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uri".to_owned())))
        .description(Some("an absolute URI without fragment (RFC 8707 §2)"))
);
plain!(
    Timestamp,
    "Timestamp",
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some("microseconds since 1970-01-01T00:00:00Z"))
);
plain!(
    Ttl,
    "Ttl",
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some("whole seconds"))
);
plain!(ScopeSet, "ScopeSet", ArrayBuilder::new().items(Scope::schema()));
plain!(
    Authority,
    "Authority",
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("scopes at each resource, by the resource's name"))
        .additional_properties(Some(AdditionalProperties::RefOr(ScopeSet::schema())))
);
plain!(
    UpstreamUrl,
    "UpstreamUrl",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uri".to_owned())))
        .description(Some(
            "https, or http on loopback; canonical; no query, fragment or user"
        ))
);
plain!(
    Glob,
    "Glob",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("`*` within a segment, `**` over segments"))
);
plain!(
    PathGlob,
    "PathGlob",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^/"))
        .description(Some(
            "a normalised path; `*` within a segment, `**` over segments"
        ))
);
plain!(
    Entry,
    "Entry",
    OneOfBuilder::new().item(ScopeSet::schema()).item(
        ObjectBuilder::new()
            .property("scopes", ScopeSet::schema())
            .property(
                "manifest",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some("^sha256:[0-9a-f]{64}$"))
            )
            .required("scopes")
    )
);
