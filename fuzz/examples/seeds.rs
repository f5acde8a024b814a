//! Makes the seeds that need a signature. Tokens are signed with fresh keys, whose private halves it forgets;
//! the log is that of the tests of `audit`:
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`, in the workspace's folder.

#[path = "../../crates/audit/tests/fixture/mod.rs"]
mod fixture;

use chancery_audit::{InclusionProof, ProofBundle};
use chancery_fuzz::jwt::{AUDIENCE, ISSUER, NOW};
use chancery_oauth::jose::{Algorithm, HeaderTemplate, JwkSet, SigningKey};
use fixture::{Item, TestLog, export};
use libfuzzer_sys as _;
use serde_json::{Value, json};
use std::fs;

fn main() -> std::io::Result<()> {
    tokens()?;
    audit()
}

fn tokens() -> std::io::Result<()> {
    let algorithms = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];
    let keys: Vec<SigningKey> = algorithms
        .map(|algorithm| SigningKey::generate(algorithm).unwrap())
        .into();
    let set = JwkSet::from_keys(keys.iter().map(|key| key.verifying_key().clone()));
    fs::write(
        "fuzz/keys/jwks.json",
        serde_json::to_string_pretty(&set).unwrap() + "\n",
    )?;

    let mut signed = Vec::new();
    let mut sign = |name: &str, key: usize, typ: Option<&str>, claims: &Value| {
        let key = &keys[key];
        let header = HeaderTemplate::new(key.algorithm(), Some(key.kid()), typ);
        let token = key.sign_compact(&header, claims).unwrap();
        fs::create_dir_all("fuzz/corpus/jwt")?;
        fs::write(format!("fuzz/corpus/jwt/{name}"), &token)?;
        signed.push(token);
        Ok::<(), std::io::Error>(())
    };
    let (now, end) = (NOW.as_seconds(), NOW.as_seconds() + 300);
    let (user, agent) = ("usr_00000000000000000000000001", "agt_00000000000000000000000002");
    let client = "cli_00000000000000000000000000";
    let access = json!({
        "iss": ISSUER, "sub": user, "aud": AUDIENCE, "exp": end, "iat": now,
        "jti": "tok_00000000000000000000000003", "client_id": client, "scope": "read write",
        "act": { "sub": agent, "act": { "sub": "agt_00000000000000000000000004" } },
        "may_act": { "sub": "agt_00000000000000000000000005" },
        "chancery": { "lineage": ["ten_00000000000000000000000006.0", format!("{agent}.3")], "assurance": "runtime" },
    });
    sign("access_token_es256", 0, Some("at+jwt"), &access)?;
    sign("access_token_eddsa", 1, Some("application/at+jwt"), &access)?;
    sign("access_token_rs256", 2, Some("at+jwt"), &access)?;
    let mut expired = access.clone();
    expired["exp"] = json!(now - 60);
    sign("expired", 0, Some("at+jwt"), &expired)?;
    let assertion =
        json!({ "iss": client, "sub": client, "aud": ISSUER, "exp": end, "iat": now, "jti": "1" });
    sign("client_assertion", 0, None, &assertion)?;
    let id_token = json!({
        "iss": ISSUER, "sub": "alice", "aud": [AUDIENCE, "other"], "exp": end, "iat": now, "nonce": "n",
        "roles": ["editor"], "groups": ["Sales & Support"],
    });
    sign("id_token", 1, Some("JWT"), &id_token)?;
    let svid = json!({ "sub": "spiffe://example.org/bot", "aud": [ISSUER], "exp": end });
    sign("jwt_svid", 0, Some("JWT"), &svid)?;
    let id_jag = json!({
        "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "client_id": client, "jti": "2", "exp": end, "iat": now,
    });
    sign("id_jag", 2, Some("oauth-id-jag+jwt"), &id_jag)?;
    fs::write("fuzz/keys/signed.txt", signed.join("\n") + "\n")?;

    // The same claims for the target that signs by itself: a byte for `typ`, then the claims.
    fs::create_dir_all("fuzz/corpus/jwt_claims")?;
    for (name, kind, claims) in [
        ("access_token", '2', &access),
        ("client_assertion", '0', &assertion),
        ("id_token", '1', &id_token),
        ("jwt_svid", '1', &svid),
        ("id_jag", '3', &id_jag),
    ] {
        fs::write(
            format!("fuzz/corpus/jwt_claims/{name}"),
            format!("{kind}{claims}"),
        )?;
    }
    Ok(())
}

fn audit() -> std::io::Result<()> {
    let mut log = TestLog::with_entries(7, 3);
    let kept = log.checkpoint();
    let leaves: Vec<_> = log
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Entry(leaf, parts) => Some((leaf.clone(), parts.clone())),
            Item::Note(_) => None,
        })
        .collect();
    let texts: Vec<&str> = leaves.iter().map(|(leaf, _)| leaf.as_text()).collect();
    fs::write("fuzz/keys/leaves.txt", texts.join("\n") + "\n")?;
    fs::write("fuzz/keys/log.txt", format!("{}\n", log.signer.verifier()))?;
    fs::write("fuzz/keys/checkpoint.txt", &kept)?;

    fs::create_dir_all("fuzz/corpus/audit_export")?;
    fs::create_dir_all("fuzz/corpus/audit_proof")?;
    fs::write(
        "fuzz/corpus/audit_export/whole",
        export(&[&log], 0).join("\n") + "\n",
    )?;
    fs::write(
        "fuzz/corpus/audit_export/from_4",
        export(&[&log], 4).join("\n") + "\n",
    )?;
    let mut cut = export(&[&log], 0);
    cut.remove(3);
    fs::write("fuzz/corpus/audit_export/without_an_entry", cut.join("\n") + "\n")?;
    for (index, (leaf, parts)) in leaves.iter().enumerate().step_by(3) {
        let proof = InclusionProof::build(&log.tiles, index as u64, log.size).unwrap();
        let mut parts = parts.clone();
        if index == 3 {
            parts[0].erase(NOW);
        }
        let bundle = ProofBundle::new(leaf, proof, kept.clone(), parts);
        fs::write(
            format!("fuzz/corpus/audit_proof/entry_{index}"),
            bundle.to_json().unwrap(),
        )?;
    }
    Ok(())
}
