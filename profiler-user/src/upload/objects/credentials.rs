//! Credentials of object stores, in the form that each service's own tools have them in a file.

use object_store::aws::AmazonS3Builder;
use object_store::azure::{MicrosoftAzureBuilder, split_sas};
use object_store::gcp::GoogleCloudStorageBuilder;

/// The section of a shared credentials file that counts.
const PROFILE: &str = "default";

/// Of an AWS shared credentials file: `[default]` with `aws_access_key_id`, `aws_secret_access_key` and, if they are for a
/// while, `aws_session_token`. Lines in front of any section count, too.
pub(super) fn s3(builder: AmazonS3Builder, text: &str) -> Result<AmazonS3Builder, String> {
    let (mut id, mut secret, mut token) = (None, None, None);
    let mut counts = true;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            counts = section.trim() == PROFILE;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| counts && !line.starts_with('#'))
        {
            let value = Some(value.trim()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err("it has no aws_access_key_id and aws_secret_access_key in [default]".to_owned());
    };
    let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    Ok(match token {
        Some(token) => builder.with_token(token),
        None => builder,
    })
}

/// Of a service account's key (JSON).
pub(super) fn gcs(builder: GoogleCloudStorageBuilder, text: &str) -> GoogleCloudStorageBuilder {
    builder.with_service_account_key(text)
}

/// Of a shared access signature (`sv=…&sig=…`), or else of a storage account's key.
pub(super) fn azure(builder: MicrosoftAzureBuilder, text: &str) -> Result<MicrosoftAzureBuilder, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !text.contains("sig=") {
        return Ok(builder.with_access_key(text));
    }
    // The error would have it in it.
    let pairs =
        split_sas(text.trim_start_matches('?')).map_err(|_| "it is no shared access signature".to_owned())?;
    Ok(builder.with_sas_authorization(pairs))
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3ConfigKey;
    use object_store::azure::AzureConfigKey;

    use super::*;

    #[test]
    fn a_shared_credentials_file() {
        let text = "# mine\n[other]\naws_access_key_id = no\naws_secret_access_key=no\n\n[default]\naws_access_key_id = ID\n\
                    aws_secret_access_key = SE/CRET=\nregion = x\n";
        let builder = s3(AmazonS3Builder::new(), text).unwrap();
        let of = |key| builder.get_config_value(&key);
        assert_eq!(of(AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("ID"));
        assert_eq!(of(AmazonS3ConfigKey::SecretAccessKey).as_deref(), Some("SE/CRET="));
        assert_eq!(of(AmazonS3ConfigKey::Token), None);
        assert!(s3(AmazonS3Builder::new(), "[other]\naws_access_key_id = no").is_err());
    }

    #[test]
    fn keys_and_signatures_of_azure() {
        let key = azure(MicrosoftAzureBuilder::new(), "a2V5\n").unwrap();
        assert_eq!(key.get_config_value(&AzureConfigKey::AccessKey).as_deref(), Some("a2V5"));
        let signed = azure(MicrosoftAzureBuilder::new(), "?sv=1&sig=secret%3D").unwrap();
        assert_eq!(signed.get_config_value(&AzureConfigKey::AccessKey), None);
        assert!(azure(MicrosoftAzureBuilder::new(), "\n").is_err());
    }
}
