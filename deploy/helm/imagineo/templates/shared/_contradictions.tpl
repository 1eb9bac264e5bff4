{{/* Values that cannot go together, by area. In: root. Out: JSON list, a sentence each. */}}

{{- define "imagineo.contradictions.addresses" -}}
{{- $problems := list }}
{{- range include "imagineo.outsideAddresses" . | fromJsonArray }}
{{- if not .inside }}
{{- $problems = append $problems (printf "%s says port %s (%s), and the NetworkPolicies would let pods out to port %s alone. Set %s to %s." .value .said .address .let .portValue .said) }}
{{- end }}
{{- end }}
{{- if and .Values.nats.evaluation.enabled (gt (.Values.nats.replicas | int) 1) }}
{{- $problems = append $problems (printf "nats.replicas is %d, and the evaluation NATS is one server, which refuses such streams. Leave it at 0, or set nats.servers to servers of your own." (.Values.nats.replicas | int)) }}
{{- end }}
{{- range list "postgres" "blobs" }}
{{- $party := get $.Values . }}
{{- if and $party.caSecret $party.evaluation.enabled }}
{{- $problems = append $problems (printf "%s.caSecret is set, and %s.evaluation speaks no TLS. Leave it empty, or bring your own." . .) }}
{{- end }}
{{- end }}
{{- range list (list "postgres.existingSecret" .Values.postgres.existingSecret) (list "secrets.signing" .Values.secrets.signing) }}
{{- if not (last .) }}
{{- $problems = append $problems (printf "%s is null: pods would name no Secret. Name one, or leave the value out." (first .)) }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "imagineo.contradictions.certificates" -}}
{{- $problems := list }}
{{- with .Values.mtls }}
{{- if and .enabled .certManager.enabled }}
{{- with .certManager }}
{{- if le (include "imagineo.seconds" .duration | int) (include "imagineo.seconds" .renewBefore | int) }}
{{- $problems = append $problems (printf "mtls.certManager.renewBefore (%s) is not less than duration (%s): certificates would be renewed without end. Lower it." .renewBefore .duration) }}
{{- end }}
{{- if and (eq .issuerRef.group "cert-manager.io") (not (has .issuerRef.kind (list "Issuer" "ClusterIssuer"))) }}
{{- $problems = append $problems (printf "mtls.certManager.issuerRef.kind is %s, which cert-manager.io does not have. Set it to Issuer or ClusterIssuer." .issuerRef.kind) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* A duration such as `1h30m`. In: the text. Out: seconds. */}}
{{- define "imagineo.seconds" -}}
{{- $hours := regexFind "[0-9]+h" . | trimSuffix "h" | int -}}
{{- $minutes := regexFind "[0-9]+m" . | trimSuffix "m" | int -}}
{{- add (mul $hours 3600) (mul $minutes 60) (regexFind "[0-9]+s" . | trimSuffix "s" | int) -}}
{{- end }}

{{- define "imagineo.contradictions.services" -}}
{{- $problems := list }}
{{- $known := .Files.Get "files/settings.json" | fromJson }}
{{- range $name := list "gateway" "auth" "catalog" "status" "webhooks" }}
{{- $values := get $.Values $name }}
{{- if and $values.autoscaling.enabled (gt ($values.autoscaling.min | int) ($values.autoscaling.max | int)) }}
{{- $problems = append $problems (printf "%s.autoscaling.max (%d) is less than min (%d). Raise it." $name ($values.autoscaling.max | int) ($values.autoscaling.min | int)) }}
{{- end }}
{{- $problems = concat $problems (include "imagineo.settings.problems" (dict "known" (get $known $name) "where" (printf "%s.settings" $name) "settings" $values.settings) | fromJsonArray) }}
{{- end }}
{{- range $variable, $_ := .Values.models.env }}
{{- if or (hasPrefix "IMAGINEO_" $variable) (has $variable (list "HOME" "HF_HOME" "HF_HUB_DISABLE_XET" "HF_TOKEN" "POSTGRES_PASSWORD" "PGSSLROOTCERT" "PGSSLMODE")) }}
{{- $problems = append $problems (printf "models.env.%s is the chart's own. Leave it out; a token comes by models.hubSecret." $variable) }}
{{- end }}
{{- end }}
{{- $slugs := ternary (list "starter") list .Values.models.starter }}
{{- range .Values.models.base }}
{{- if has .slug $slugs }}
{{- $problems = append $problems (printf "models.base has the slug %s twice (models.starter brings the slug starter): the last one would take the place of the first. Give each its own." .slug) }}
{{- end }}
{{- $slugs = append $slugs .slug }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* Settings that a service does not have, and would not hear. In: where, settings, known (names). Out: JSON list. */}}
{{- define "imagineo.settings.problems" -}}
{{- $problems := list }}
{{- range $key, $_ := .settings }}
{{- if not (has $key $.known) }}
{{- $problems = append $problems (printf "%s.%s is no setting. There are: %s." $.where $key (join ", " $.known)) }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}
