// Takes the code out of the address that the command line prints, and out of the browser's history.
const input = document.getElementById("code");
const code = new URLSearchParams(location.hash.slice(1)).get("code");
if (code) {
  input.value = code;
  history.replaceState(null, "", location.pathname);
}
input.focus();
