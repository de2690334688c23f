//! ApiVersions (18), versions 0-4.
//!
//! The first request of every client. 3: client software name and version (KIP-511), features
//! (KIP-584). 4: features whose lowest level is 0 (KIP-1022).
//! An unknown version is answered in version 0 with UNSUPPORTED_VERSION and only this API's range.

use std::rc::Rc;

use bytes::Bytes;
use cluster::metadata::features::{KRAFT_VERSION, supported};
use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, Message};
use protocol::primitives::Reader;

use super::{APIS, Caller, Reason, Reply, Request};
use crate::shard::Shard;

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<Bytes>) -> Reply {
    let header = &request.header;
    if !ApiKey::ApiVersions.supports(header.version) {
        let answer = ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION.0,
            api_keys: vec![range_of(ApiKey::ApiVersions)],
            ..ApiVersionsResponse::default()
        };
        return header.reply_in(&answer, 0);
    }
    let asked = match ApiVersionsRequest::decode(&mut Reader::new(&request.body), header.version) {
        Ok(asked) => asked,
        Err(error) => return Reply::Close(Reason::Undecodable(error)),
    };
    if header.version >= 3
        && !(is_name(&asked.client_software_name) && is_name(&asked.client_software_version))
    {
        let error_code = ErrorCode::INVALID_REQUEST.0;
        return header.reply(&ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() });
    }
    header.reply(&answer(shard, header.version))
}

fn answer(shard: &Rc<Shard>, version: i16) -> ApiVersionsResponse {
    let image = shard.image.borrow();
    let levels = image.features.iter().map(|(name, level)| (name.as_str(), *level));
    let finalized = levels.chain([(KRAFT_VERSION.name, KRAFT_VERSION.initial)]);
    let finalized = finalized.map(|(name, level)| FinalizedFeatureKey {
        name: name.to_owned(),
        max_version_level: level,
        min_version_level: level,
    });
    let supported = supported().filter(|feature| version >= 4 || feature.min > 0);
    ApiVersionsResponse {
        api_keys: APIS.iter().map(|api| range_of(api.key)).collect(),
        supported_features: supported
            .map(|feature| SupportedFeatureKey {
                name: feature.name.to_owned(),
                min_version: feature.min,
                max_version: feature.max,
            })
            .collect(),
        finalized_features_epoch: image.offset,
        finalized_features: finalized.collect(),
        ..ApiVersionsResponse::default()
    }
}

fn range_of(key: ApiKey) -> ApiVersion {
    let (min_version, max_version) = key.advertised_versions();
    ApiVersion { api_key: key as i16, min_version, max_version }
}

/// Kafka: letters, digits, dots and hyphens, not at either end.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_checked_as_kafka_does() {
        for good in ["librdkafka", "a", "v1.2-3"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a_b", "-x", "x-", "a b"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
