//! What a process's environment says of its service: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
//! Nothing else of it is looked at. Pure.

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// `OTEL_SERVICE_NAME`, or `service.name`.
    pub(super) service: Option<String>,
    /// `service.version`.
    pub(super) version: Option<String>,
    /// `service.namespace`, or `k8s.namespace.name`.
    pub(super) namespace: Option<String>,
    /// `k8s.pod.name`.
    pub(super) pod: Option<String>,
    /// `k8s.container.name`, or `container.name`.
    pub(super) container: Option<String>,
    /// `deployment.environment.name`, or `deployment.environment`.
    pub(super) environment: Option<String>,
    /// `HOSTNAME`: in Kubernetes it is the pod's name.
    pub(super) hostname: Option<String>,
}

/// Reads /proc/PID/environ (proc_pid_environ(5)): `NAME=value`, each followed by a zero.
pub(super) fn read(environ: &[u8]) -> Declared {
    let mut declared = Declared::default();
    let mut name = None;
    for variable in environ.split(|&byte| byte == 0) {
        let Some(at) = variable.iter().position(|&byte| byte == b'=') else { continue };
        let value = || String::from_utf8_lossy(&variable[at + 1..]).into_owned();
        match &variable[..at] {
            b"OTEL_SERVICE_NAME" => name = Some(value()),
            b"OTEL_RESOURCE_ATTRIBUTES" => attributes(&value(), &mut declared),
            b"HOSTNAME" => declared.hostname = Some(value()),
            _ => {}
        }
    }
    // It takes precedence over the attribute.
    declared.service = name.filter(|name| !name.is_empty()).or(declared.service);
    declared
}

/// `key=value` separated by commas, values percent-encoded.
fn attributes(text: &str, declared: &mut Declared) {
    let mut weak = Declared::default();
    for pair in text.split(',') {
        let Some((key, value)) = pair.split_once('=') else { continue };
        let field = match key.trim() {
            "service.name" => &mut declared.service,
            "service.version" => &mut declared.version,
            "service.namespace" => &mut declared.namespace,
            "k8s.pod.name" => &mut declared.pod,
            "k8s.container.name" => &mut declared.container,
            "deployment.environment.name" => &mut declared.environment,
            "k8s.namespace.name" => &mut weak.namespace,
            "container.name" => &mut weak.container,
            "deployment.environment" => &mut weak.environment,
            _ => continue,
        };
        let value = decoded(value.trim());
        if !value.is_empty() {
            *field = Some(value);
        }
    }
    declared.namespace = declared.namespace.take().or(weak.namespace);
    declared.container = declared.container.take().or(weak.container);
    declared.environment = declared.environment.take().or(weak.environment);
}

/// RFC 3986, section 2.1; what is no encoding stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &behind[2..];
            }
            None => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_counts_more_than_the_attribute() {
        let environ = b"PATH=/bin\0OTEL_SERVICE_NAME=shop\0OTEL_RESOURCE_ATTRIBUTES=service.name=other,service.version=1%2E2 \0";
        let declared = read(environ);
        assert_eq!(declared.service.as_deref(), Some("shop"));
        assert_eq!(declared.version.as_deref(), Some("1.2"));
        let declared = read(b"OTEL_RESOURCE_ATTRIBUTES=service.name=other\0OTEL_SERVICE_NAME=\0");
        assert_eq!(declared.service.as_deref(), Some("other"), "an empty variable is none");
    }

    #[test]
    fn attributes_of_kubernetes() {
        let declared = read(
            b"OTEL_RESOURCE_ATTRIBUTES=k8s.namespace.name=prod,k8s.pod.name=a-1,container.name=c,evil=x,deployment.environment=eu\0HOSTNAME=a-1\0",
        );
        let wanted = |text: &str| Some(text.to_owned());
        let seen =
            [declared.namespace, declared.pod, declared.container, declared.environment, declared.hostname];
        assert_eq!(seen, [wanted("prod"), wanted("a-1"), wanted("c"), wanted("eu"), wanted("a-1")]);
    }

    #[test]
    fn nothing_panics() {
        for environ in [
            &b""[..],
            b"\0\0",
            b"=\0",
            b"OTEL_RESOURCE_ATTRIBUTES",
            b"OTEL_RESOURCE_ATTRIBUTES=,,=,service.name=%,x",
            b"OTEL_SERVICE_NAME=\xff",
        ] {
            read(environ);
        }
        assert_eq!(decoded("%41%4%zz%"), "A%4%zz%");
    }
}
