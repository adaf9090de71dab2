package browse

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
)

// errorPage is what the page in the place of an error shows.
type errorPage struct {
	Heading string
	What    string // happened
	Do      string // what the reader can do
	Again   string // the path of what was asked for, if asking again may help
	Retry   string // the seconds after which it may
	Code    string
	Detail  string
}

// writeError writes a page in the place of an error.
func (s *site) writeError(w http.ResponseWriter, r *http.Request, a *answer) {
	challenge := w.Header().Get("WWW-Authenticate")
	p := &page{Template: "error", Status: a.refused}
	if a.refused == http.StatusUnauthorized && s.Token != nil && strings.HasPrefix(strings.ToLower(challenge), "bearer") {
		p = s.signInPage(r, r.URL.RequestURI(), "")
		p.Status = a.refused
	} else {
		shown := describeError(a.refused, a.body.Bytes())
		shown.Retry = w.Header().Get("Retry-After")
		if shown.Again != "" {
			shown.Again = r.URL.RequestURI()
		}
		p.Title, p.Data = shown.Heading, shown
	}
	p.Trail = []step{{"Repositories", s.path("")}, {p.Title, ""}}
	if err := s.write(w, r, p); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// again marks the errors after which asking again may help.
const again = "again"

// explanations are what people are told, by the code of an error or else by its status.
var explanations = map[string]errorPage{
	"UNAUTHORIZED": {
		Heading: "You are not signed in",
		What:    "Only those who have a user name and a password may see this.",
		Do:      "Load the page again: your browser asks for them. They are the ones that you give to docker login.",
		Again:   again,
	},
	"NAME_INVALID": {
		Heading: "This is not the name of a repository",
		What:    "Names consist of lower-case letters and digits, with dots, dashes, underscores and slashes between them.",
		Do:      "Check how the name is spelled, or look for the repository in the list.",
	},
	"NAME_UNKNOWN": {
		Heading: "There is no such repository",
		What:    "The registry has no repository of this name, or none of its manifests has a tag.",
		Do:      "Check how the name is spelled, or look for the repository in the list.",
	},
	"MANIFEST_UNKNOWN": {
		Heading: "There is no such image",
		What:    "The repository has no image or artifact with this tag or digest. It may have been deleted, or the tag may have another name.",
		Do:      "Look for it among the tags of the repository.",
	},
	"BLOB_UNKNOWN": {
		Heading: "There is no such file",
		What:    "The image or artifact has no such file, or its content is not in the registry any more.",
		Do:      "Look for it on the page of the image.",
	},
	"TAG_INVALID": {
		Heading: "This is neither a tag nor a digest",
		What:    "Tags consist of letters, digits, underscores, dots and dashes; digests look like sha256:… with 64 digits.",
		Do:      "Look for the image among the tags of the repository.",
	},
	"UNSUPPORTED": {
		Heading: "The page cannot do this",
		What:    "The pages of the registry can be read, and nothing can be changed with them.",
		Do:      "Use the API of the registry, or a client such as oras or skopeo.",
	},
	"DENIED": {
		Heading: "The form was not accepted",
		What:    "It was sent from another site, or is not complete.",
		Do:      "Open the page again, and send the form from there.",
	},
	"UNAVAILABLE": {
		Heading: "The registry cannot answer yet",
		What:    "It is busy, or its storage is slow or not to be reached.",
		Do:      "Try again in a moment.",
		Again:   again,
	},
	"TOOMANYREQUESTS": {
		Heading: "There are too many requests",
		What:    "The registry or its storage refuses more at the moment.",
		Do:      "Try again in a moment.",
		Again:   again,
	},
	"404": {
		Heading: "There is no such page",
		What:    "The registry has no page with this address.",
		Do:      "Begin with the list of repositories.",
	},
	"4xx": {
		Heading: "The registry does not understand the request",
		What:    "Something in the address or in the form is not as it should be.",
		Do:      "Go back, or begin with the list of repositories.",
	},
	"5xx": {
		Heading: "The registry has failed",
		What:    "It could not read what the page shows. Its log says why.",
		Do:      "Try again. If that does not help, tell those who run the registry when it happened.",
		Again:   again,
	},
}

// maxDetail is how much of the text of an error is shown.
const maxDetail = 500

// describeError is what people are told of an error in the form of the API.
func describeError(status int, body []byte) errorPage {
	var answer struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Detail  any    `json:"detail"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(body, &answer)
	code, detail := "", ""
	if len(answer.Errors) > 0 {
		code = answer.Errors[0].Code
		detail, _ = answer.Errors[0].Detail.(string)
	}
	shown, ok := explanations[code]
	switch {
	case ok:
	case status == http.StatusNotFound:
		shown = explanations["404"]
	case status == http.StatusServiceUnavailable:
		shown = explanations["UNAVAILABLE"]
	case status < http.StatusInternalServerError:
		shown = explanations["4xx"]
	default:
		shown = explanations["5xx"]
	}
	shown.Code = cmp.Or(code, http.StatusText(status))
	shown.Detail = clip(detail, maxDetail)
	return shown
}
